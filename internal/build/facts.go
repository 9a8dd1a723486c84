package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/guard"
	"zonebuild/zone"
)

// facts gathers what the guards judge. The serial and the time left are added
// once they are known.
func (p *pass) facts(j *job, candidate *zone.Zone) guard.Facts {
	policy := &j.z.Policy
	f := guard.Facts{
		Now: j.now, LastPublished: j.state.Published, WasAhead: p.o.WasAhead,
		Signed:      j.signs(),
		WasSigned:   j.state.Signed,
		KeepsSerial: policy.Serial == config.SerialKeep,
		ExpiryFloor: policy.Refresh,
		HostBefore:  j.state.HostRecords, ShrinkLimit: policy.ShrinkLimit,
	}
	if f.HostBefore == 0 && j.prev != nil { // the state is lost: the published zone tells nearly as well
		f.HostBefore = j.prev.HostRecords() - j.prev.Count(generated)
	}
	f.HostNow = f.HostBefore
	if j.prev != nil {
		f.HasPrevious, f.Previous = true, j.prev.Serial()
		if at, ok := j.prev.SignedAt(policy.InceptionOffset, j.now); ok && at.After(f.LastPublished) {
			f.LastPublished = at // the state is lost, or older than the file
		}
		f.WasSigned = f.WasSigned || len(j.prev.DNSKEYs()) > 0
		if _, last, ok := j.prev.Expirations(j.now); ok {
			f.SignedUntil = last
		}
	}
	if f.Signed {
		f.MissingKeys = p.unexplained(j)
	}
	f.First = !f.WasSigned
	return f
}

// unexplained names the published keys that have no key file. When the published
// zone cannot be read back, the state knows them.
func (p *pass) unexplained(j *job) []string {
	published := j.state.Keys
	if j.prev != nil {
		published = nil
		for _, k := range j.prev.DNSKEYs() {
			published = append(published, keyID(k.Algorithm, k.KeyTag()))
		}
	}
	have := map[string]bool{}
	for _, f := range p.tree.keys.Files(j.z.Name) {
		have[keyID(f.Algorithm, f.Tag)] = true
	}
	return slices.DeleteFunc(slices.Clone(published), func(id string) bool { return have[id] })
}

// keyID names a key as its files do.
func keyID(algorithm uint8, tag uint16) string { return fmt.Sprintf("%d+%d", algorithm, tag) }

// preCheck runs the guards that need no signatures.
func (p *pass) preCheck(j *job, z *zone.Zone, src *sources) []guard.Finding {
	f := p.facts(j, z)
	f.HostNow, f.PrimaryEmpty = src.hostRecords, src.primaryEmpty
	f.Serial, f.OldestLeft = f.Previous+1, f.ExpiryFloor
	if j.prev != nil {
		f.Vanished = j.prev.Vanished(z, generated)
	}
	p.delegation(j, z, &f)
	return p.withoutKeys(j, z, guard.Check(f, p.approved(j, z)))
}

// generated reports whether records come and go by rules of their own, because
// they are made from other sources.
func generated(owner []byte, typ uint16) bool {
	switch typ {
	case dns.TypeTLSA, dns.TypeSSHFP:
		return true
	case dns.TypeTXT:
		return bytes.Contains(owner, []byte("\x0f_acme-challenge"))
	}
	return false
}

// approved reports for this very candidate what was approved.
func (p *pass) approved(j *job, z *zone.Zone) func(guard.Finding) bool {
	if len(j.state.Approved) == 0 {
		return func(guard.Finding) bool { return false }
	}
	digest := p.digest(j, z)
	return func(f guard.Finding) bool { return j.state.approves(f.Code, bound(digest, f), j.now) }
}

// bound is what an approval is bound to. The DS of another zone is no part of the
// candidate, but of what was approved: why nobody answered is none.
func bound(digest string, f guard.Finding) string {
	if f.Code != "ds-first" && f.Code != "parent-ds" {
		return digest
	}
	what, _, _ := strings.Cut(f.Message, " at its parent: ")
	sum := sha256.Sum256([]byte(digest + what))
	return hex.EncodeToString(sum[:])
}

// digest identifies a candidate: its records but for the serial, the public
// keys and whether it is signed. It is what an approval is bound to.
func (p *pass) digest(j *job, z *zone.Zone) string {
	h := sha256.New()
	fmt.Fprintln(h, j.z.Name, j.z.Policy.Sign)
	h.Write(p.tree.appendKeys(nil, j.z.Name, nil))
	// Challenges come and go as a jail likes: they must not undo an approval.
	if same, err := z.WithSerial(0); err == nil {
		s := same.Records()
		var line []byte
		for i := range s.Len() {
			if s.Type(i) == dns.TypeTXT && generated(s.Owner(i), dns.TypeTXT) {
				continue
			}
			line = zone.AppendRecordOf(line[:0], s, i)
			h.Write(line)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// refuse records the refusals, so that approve can find them.
func (p *pass) refuse(j *job, z *zone.Zone, findings []guard.Finding) {
	digest := p.digest(j, z)
	var list []Refusal
	for _, f := range findings {
		candidate := bound(digest, f)
		at := j.now.UTC().Truncate(time.Second)
		for _, old := range j.before {
			if old.Guard == f.Code && old.Candidate == candidate {
				at = old.At
			}
		}
		list = append(list, Refusal{f.Code, candidate, f.Message, f.Override, at})
	}
	j.state.Refused = list
	j.state.raise("guard", findings[0].Code+": "+findings[0].Message, j.now)
	j.res.Action, j.res.Refusals = Refused, findings
	j.res.Code = cli.Worst(j.res.Code, cli.ExitRejected)
	j.held = findings[0].Message
}

// withoutKeys takes back the offer to approve a missing key when the keys that
// are left cannot sign the zone: nothing would come of it.
func (p *pass) withoutKeys(j *job, z *zone.Zone, findings []guard.Finding) []guard.Finding {
	i := slices.IndexFunc(findings, keySet)
	if i < 0 {
		return findings
	}
	keys, faults := dnssec.LoadKeys(p.tree.keys, j.z.Name, dnssec.LoadOptions{})
	_, err := dnssec.NewPlan(z, keys, signPolicy(&j.z.Policy), nil, j.now)
	findings[i].Override = !faults.HasErrors() && err == nil
	return findings
}
