package build

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/sshfp"
	"zonebuild/zone"
)

// scanHostKeys reads sshfp/ once per pass. While it is in other hands, or does not answer,
// what was read last stands, or, if nothing was, what is published.
func (t *Tree) scanHostKeys() {
	o := sshfp.Options{
		Dir: t.Config.Paths.SSHFP, SHA1: t.Config.SSHFP.SHA1, TTL: uint32(t.Config.SSHFP.TTL / time.Second),
		Marker: t.Config.Sources["sshfp"].Marker,
	}
	set, err := (*sshfp.Set)(nil), errAway
	if !t.isAway("sshfp") {
		set, err = hearSteps(t.beside.ear("dir "+o.Dir), func(step func()) (*sshfp.Set, error) {
			heard := o
			heard.Step = step
			return sshfp.Scan(heard, t.zoneOf), nil
		}, nil)
	}
	switch {
	case err == nil:
		t.hostKeys = set
	case t.hostKeys == nil:
		t.hostKeys = sshfp.Unread(o, err)
	}
}

// hostKeyGuests are the SSHFP records of a zone: those of its files, and, where a
// file or the directory cannot be read, those that are published.
func (t *Tree) hostKeyGuests(apex domain.Name, host []zone.Fragment) ([]zone.Fragment, diag.List) {
	set := t.hostKeys
	switch {
	case set == nil:
		return nil, nil
	case set.Unread != "":
		return t.unreadHostKeys(apex, host), nil
	}
	fragments, faults := set.For(apex)
	published := sync.OnceValues(func() (*dnssec.Previous, error) { return t.Previous(apex) }) // whoever writes there chooses how many hosts are broken
	for i := range fragments {
		f := &fragments[i]
		f.Files[0].Name = "sshfp/" + filepath.Base(f.Name) // the same however the tree is called
		h := t.hostOf(f.Name)
		if host == nil || h == nil {
			continue
		}
		if !h.Broken {
			faults = append(faults, besideByHand(f.Files[0].Name, f.Records, host, h.Name)...)
			continue
		}
		if was := publishedSet(published, h.Name, dns.TypeSSHFP); was != nil {
			f.Records = moved(was, f.Name, h.MayStay)
		}
	}
	return fragments, faults
}

// besideByHand warns of hand-written SSHFP records of other keys than those of a
// host's file: OpenSSH wants each fingerprint of a type to match.
func besideByHand(file string, keys *rrset.Set, host []zone.Fragment, name domain.Name) (faults diag.List) {
	if keys == nil || keys.Len() == 0 {
		return nil
	}
	of := map[[2]byte][][]byte{} // by algorithm and fingerprint type
	for i := range keys.Len() {
		if rdata := keys.Rdata(i); len(rdata) > 2 {
			kind := [2]byte(rdata[:2])
			of[kind] = append(of[kind], rdata)
		}
	}
	for _, f := range host {
		for i := 0; f.Records != nil && i < f.Records.Len(); i++ {
			if f.Records.Type(i) != dns.TypeSSHFP || string(f.Records.Owner(i)) != name.Wire() {
				continue
			}
			rdata := f.Records.Rdata(i)
			if len(rdata) < 2 {
				continue
			}
			same := of[[2]byte(rdata[:2])]
			if len(same) > 0 && !slices.ContainsFunc(same, func(k []byte) bool { return bytes.Equal(k, rdata) }) {
				faults.Warnf(f.Records.Pos(i), "sshfp-hand-written", name.String(),
					"the fingerprint of another key of algorithm %d than %s has: OpenSSH from 8.7 on refuses the host with either", rdata[0], file)
			}
		}
	}
	return faults
}

func (t *Tree) hostOf(file string) *sshfp.Host {
	for _, h := range t.hostKeys.Hosts {
		if h.File == file {
			return h
		}
	}
	return nil
}

// unreadHostKeys are the published SSHFP records of all hosts but those whose
// records are written by hand.
func (t *Tree) unreadHostKeys(apex domain.Name, host []zone.Fragment) []zone.Fragment {
	dir := t.Config.Paths.SSHFP
	out := []zone.Fragment{{
		Name: dir, Guest: true, Records: &rrset.Set{}, TTL: -1, Files: []zone.Source{{Name: "sshfp", Digest: sha256.Sum256([]byte("not read"))}},
	}}
	if host == nil {
		return out
	}
	for _, was := range t.publishedSets(apex, dns.TypeSSHFP) {
		if !holds(host, was.Name(0), dns.TypeSSHFP, nil) {
			out = append(out, zone.Fragment{Name: dir, Guest: true, Records: moved(was, dir, nil), TTL: -1})
		}
	}
	return out
}

// hostKeyAlarm says of a zone whether host keys cannot be read. Of a directory
// that as a whole cannot be, it is the zones' that had hosts there, and the first
// zone's, so that somebody is told.
func (p *pass) hostKeyAlarm(j *job) {
	set := p.tree.hostKeys
	j.state.clear("host-keys")
	if set == nil {
		return
	}
	if set.Unread != "" {
		zones := p.tree.Config.Zones
		if j.state.Hosts > 0 || len(zones) > 0 && zones[0].Name == j.z.Name {
			j.state.raise("host-keys", fmt.Sprintf("the host keys are not read, what is published of them stays: %s", set.Unread), j.now)
		}
		return
	}
	broken, first := 0, ""
	j.state.Hosts = 0
	for _, h := range set.Hosts {
		if h.Apex != j.z.Name {
			continue
		}
		if j.state.Hosts++; h.Broken {
			if broken++; broken == 1 {
				first = h.Name.String() + ": " + h.Reason
			}
		}
	}
	switch {
	case broken > 1:
		first = fmt.Sprintf("%s (and %d more)", first, broken-1)
		fallthrough
	case broken == 1:
		j.state.raise("host-keys", first, j.now)
	}
}
