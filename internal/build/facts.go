package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/guard"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// facts gathers what the guards judge. The serial and the time left are added
// once they are known.
func (p *pass) facts(j *job, candidate *zone.Zone) guard.Facts {
	policy := &j.z.Policy
	f := guard.Facts{
		Now: j.now, LastPublished: j.state.Published, Validity: policy.Validity,
		Signed:      j.signs(),
		WasSigned:   j.state.Signed,
		KeepsSerial: policy.Serial == config.SerialKeep,
		ExpiryFloor: policy.Refresh,
		HostBefore:  j.state.HostRecords, ShrinkLimit: policy.ShrinkLimit,
	}
	if f.HostBefore == 0 && j.prev != nil { // the state is lost: the published zone tells nearly as well
		f.HostBefore = j.prev.Zone.Records().Len()
	}
	f.HostNow = f.HostBefore
	if j.prev != nil {
		f.HasPrevious, f.Previous = true, j.prev.Zone.Serial()
		if at, ok := j.prev.SignedAt(policy.InceptionOffset, j.now); ok && at.After(f.LastPublished) {
			f.LastPublished = at // the state is lost, or older than the file
		}
		was := j.prev.DNSKEYs()
		f.WasSigned = f.WasSigned || len(was) > 0
		if f.Signed {
			f.MissingKeys = p.unexplained(j, was)
		}
	}
	f.First = !f.WasSigned
	return f
}

// unexplained names the published keys that have no key file.
func (p *pass) unexplained(j *job, was []dns.DNSKEY) []string {
	var out []string
	for i := range was {
		tag := was[i].KeyTag()
		if !p.tree.keys.Has(j.z.Name, was[i].Algorithm, tag) {
			out = append(out, fmt.Sprintf("%d+%d", was[i].Algorithm, tag))
		}
	}
	return out
}

// preCheck runs the guards that need no signatures.
func (p *pass) preCheck(j *job, z *zone.Zone, src *sources) []guard.Finding {
	f := p.facts(j, z)
	f.HostNow, f.PrimaryEmpty = src.hostRecords, src.primaryEmpty
	f.Serial, f.OldestLeft = f.Previous+1, f.ExpiryFloor
	if j.prev != nil {
		f.Vanished = vanished(j.prev.Zone.Records(), z.Records())
	}
	p.delegation(j, z, &f)
	return guard.Check(f, p.approvals(j, z))
}

// vanished counts the records of a published zone whose name and type the new one
// does not have. What is generated from other sources comes and goes by rules of
// its own.
func vanished(was, is *rrset.Set) (n int) {
	at := 0
	for lo := 0; lo < was.Len(); {
		owner := was.Owner(lo)
		for at < is.Len() && domain.Compare(is.Owner(at), owner) < 0 {
			at = is.OwnerEnd(at)
		}
		end := was.OwnerEnd(lo)
		for ; lo < end; lo = was.RRsetEnd(lo) {
			if generated(owner, was.Type(lo)) || at < is.Len() && bytes.Equal(is.Owner(at), owner) && has(is, at, was.Type(lo)) {
				continue
			}
			n += was.RRsetEnd(lo) - lo
		}
	}
	return n
}

func has(s *rrset.Set, at int, typ uint16) bool {
	for i := at; i < s.OwnerEnd(at); i++ {
		if s.Type(i) == typ {
			return true
		}
	}
	return false
}

func generated(owner []byte, typ uint16) bool {
	switch typ {
	case dns.TypeTLSA, dns.TypeSSHFP:
		return true
	case dns.TypeTXT:
		return bytes.Contains(owner, []byte("\x0f_acme-challenge"))
	}
	return false
}

// approvals are the guards that were approved for this very candidate.
func (p *pass) approvals(j *job, z *zone.Zone) []string {
	if len(j.state.Approved) == 0 {
		return nil
	}
	return j.state.approvedFor(p.digest(j, z))
}

// digest identifies a candidate: its records but for the serial, the public
// keys and whether it is signed. It is what an approval is bound to.
func (p *pass) digest(j *job, z *zone.Zone) string {
	h := sha256.New()
	fmt.Fprintln(h, j.z.Name, j.z.Policy.Sign)
	p.tree.digestKeys(h, j.z.Name)
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
		at := j.now.UTC().Truncate(time.Second)
		for _, old := range j.state.Refused {
			if old.Guard == f.Code && old.Candidate == digest {
				at = old.At
			}
		}
		list = append(list, Refusal{f.Code, digest, f.Message, at})
	}
	j.state.Refused = list
	j.state.raise("guard", findings[0].Code+": "+findings[0].Message, j.now)
	j.res.Action, j.res.Refusals = Refused, findings
	j.res.Code = cli.Worst(j.res.Code, cli.ExitRejected)
	j.held = findings[0].Message
}
