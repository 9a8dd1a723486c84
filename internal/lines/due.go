package lines

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/config"
)

// due says whether the live certificate must be replaced, why, and when.
func (d *decision) due() (bool, string, time.Time) {
	at, why := d.renewAt()
	if !slices.Equal(namesOf(d.Files.Live), sorted(d.Line.Names)) {
		at, why = time.Time{}, "the names have changed"
	}
	if old := d.State.Source.outdated(d.Files.Live, d.Line, d.Wanted); old != "" {
		if d.Wanted.Trial && !d.Word.Now { // no timer puts a certificate of a trial in the place of one that counts
			d.wait(time.Time{}, old+", and the one of acmehook.toml is for trials: acmehook issue "+d.Line.Name+" takes a certificate of it")
		} else {
			at, why = time.Time{}, old
		}
	}
	switch {
	case d.Files.Live.Damaged != "":
		at, why = time.Time{}, "its files are damaged: "+d.Files.Live.Damaged
	case d.State.Revoked.Cert == d.Files.Live.ID():
		at, why = time.Time{}, "the live certificate is revoked"
	}
	if d.Word.Renew {
		return true, "it was asked for", at
	}
	revoked := d.State.Revoked.Cert == d.Files.Live.ID() // by a word, and not twice
	if again := d.State.Stored.again(d.Files.Live.Leaf(), d.Now); at.Before(again) && !d.Word.Now && !revoked {
		at, why = again, why+", but the live certificate is new: not at once"
	}
	return !at.After(d.Now), why, at
}

// renewAt is when the live certificate is to be renewed.
func (d *decision) renewAt() (time.Time, string) {
	leaf := d.Files.Live.Leaf()
	if d.Line.RenewAt > 0 {
		life := leaf.NotAfter.Sub(leaf.NotBefore)
		return leaf.NotBefore.Add(life / 100 * time.Duration(d.Line.RenewAt)), fmt.Sprintf("renewal at %d %% of the lifetime", d.Line.RenewAt)
	}
	byLifetime := acmeclient.ByLifetime(leaf)
	r := d.State.Renewal
	if id, err := acmeclient.CertID(leaf); r == nil || err != nil || r.CertID != id {
		return byLifetime, "renewal by the lifetime"
	}
	if r.Start.IsZero() {
		return r.At, "renewal by the lifetime"
	}
	return r.At, "renewal in the window that the CA suggests"
}

// change says whether the key is to change.
func (d *decision) change(due bool) (bool, string) {
	live := d.Files.Live
	switch {
	case d.Word.Break:
		return true, "a new key was asked for, whatever DANE says"
	case d.compromised():
		return true, "others have the live key"
	case !d.State.Rollover.IsZero():
		return true, "a key change was asked for"
	case d.Line.CSR != "":
		// Until then the live certificate renews with its own key, where that is here.
		own := live.Key == nil || live.Key.CSR == nil
		return own && (d.Files.Next != nil || d.Files.Wanted != nil), "the certificate request has another key"
	case live.Key == nil && live.KeyFault == "":
		return true, "the key of the live certificate is not there"
	case d.Line.MaxKeyAge > 0 && !d.State.inUse(live).Since.Add(d.Line.MaxKeyAge).After(d.Now):
		return true, "the key has been in use for longer than max-key-age"
	case !d.Line.ReuseKey && due:
		return true, "the certificate is due, and keys are not used again"
	}
	return false, ""
}

// settled reports whether the live key has come to every service that can be
// asked, and all hooks were run: the key before it is history.
func (d *decision) settled() bool {
	if d.deployDue() {
		return false
	}
	for _, s := range d.Services {
		if d.State.Served[s.Name].Key != d.Files.Live.Hash() {
			return false
		}
	}
	return true
}

func (d *decision) deployDue() bool {
	p := d.State.Deploy
	return p.Cert != d.Files.Live.ID() || p.done(d.Line.Deploy) < len(d.Line.Deploy)
}

// otherType reports whether the next key, which was never used, is of another type than
// keys are to be: a CA that does not take the type must not be asked for it for ever.
func (d *decision) otherType() bool {
	k := d.Files.Next
	if k == nil || k.CSR != nil {
		return false
	}
	kind := kindOf(k.SPKI)
	return kind != "" && kind != d.Line.KeyType
}

// keyFault says why the live certificate has no key to renew with.
func keyFault(g *Generation, l config.Line) string {
	switch {
	case g.KeyFault != "":
		return g.KeyFault
	case l.CSR != "":
		return "there is no certificate request for its key"
	}
	return "its private key is not there"
}

// compromised reports whether the live key was revoked as known to others.
func (d *decision) compromised() bool { return d.State.Revoked.Key == d.Files.Live.Hash() }

// changeFailed reports whether the last try to use the next key failed, while there
// is a live one to renew with.
func (d *decision) changeFailed() bool {
	return d.State.ChangeFailed == d.Files.Next.Hash() && d.Files.Live.Key != nil && !d.Word.Break
}

func namesOf(g *Generation) []string { return sorted(g.Leaf().DNSNames) }

// sorted gives names as they are compared: a CA may write them in upper case, or one
// twice.
func sorted(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.ToLower(n)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
