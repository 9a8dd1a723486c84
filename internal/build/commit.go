package build

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/durable"
	"zonebuild/internal/guard"
	"zonebuild/internal/verify"
	"zonebuild/soa"
	"zonebuild/zone"
)

// publish signs a candidate if there is a reason, and commits it.
func (p *pass) publish(ctx context.Context, j *job, candidate *zone.Zone) {
	was := j.res.Action
	begun := p.clock()
	made, err := p.plan(j, candidate)
	p.took(StageSign, begun)
	if err != nil && was == Refused && errors.Is(err, dnssec.ErrKeys) && slices.ContainsFunc(j.res.Refusals, keySet) {
		j.res.Code = cli.Worst(j.res.Code, cli.ExitFailed) // the refusal has said which keys are gone
		j.state.raise("keys", err.Error(), j.now)
		return
	}
	if err != nil {
		j.fail("keys", err)
		return
	}
	j.state.clear("keys")
	if made.reasons == nil {
		j.adopt(p.tree)
		j.res.Serial, j.res.Next = j.head.serial, made.next
		j.res.Confirmed, j.reload = j.state.Confirmed, !j.state.Confirmed || !p.tree.keptGood(j)
		if was == "" {
			j.res.Action = Unchanged
			j.state.SameInput = hex.EncodeToString(j.input[:])
			j.state.HostRecords = j.host
			if !p.o.DryRun && !j.external() {
				if err := p.tree.writeUnsignedAs(candidate, j.head.serial); err != nil {
					j.fail("build-failed", err)
					return
				}
				j.state.Unsigned = p.tree.unsignedID(j.z.Name)
			}
			j.state.Accepted = j.faults
			j.state.clear("build-failed")
		}
		return
	}
	j.res.Reasons, j.res.NewSigs, j.res.KeptSigs = made.reasons, made.new, made.kept
	p.o.Log.Debug("planned", "zone", j.z.Name, "reasons", made.reasons, "new", made.new, "kept", made.kept)
	serial, served, hasServed, err := p.nextSerial(ctx, j, candidate)
	if errors.Is(err, soa.ErrNotRaised) { // the author's to mend
		j.res.Action, j.res.Kept = Rejected, err.Error()
		j.res.Reasons, j.res.NewSigs, j.res.KeptSigs = nil, 0, 0
		j.hold("input-rejected", err.Error())
		return
	}
	if err != nil {
		j.fail("build-failed", err)
		return
	}
	if p.o.DryRun {
		j.res.Serial = serial
		if was == "" {
			j.res.Action = WouldChange
		}
		return
	}
	out, refused, err := p.sign(j, candidate, made, serial, served, hasServed)
	if len(refused) > 0 {
		j.res.Reasons, j.res.NewSigs, j.res.KeptSigs = nil, 0, 0 // nothing was published
		if was != Refused {                                      // else the refusal of the input is the one to approve
			p.refuse(j, candidate, refused)
		}
		return
	}
	if err == nil {
		err = p.commit(ctx, j, out)
	}
	if err != nil {
		j.fail("build-failed", err)
		return
	}
	j.state.clear("build-failed")
	if was == "" {
		j.res.Action = Published
	}
}

func keySet(f guard.Finding) bool { return f.Code == "key-set" }

// signs reports whether the candidate is signed here. Last good records that
// stay published do so as they are, whatever the policy asks of new ones.
func (j *job) signs() bool {
	if j.held != "" && j.prev != nil {
		return len(j.prev.DNSKEYs()) > 0
	}
	return j.z.Policy.Signed()
}

// external reports whether the candidate is for others to sign.
func (j *job) external() bool {
	if j.held != "" {
		return j.state.Awaited != nil
	}
	return j.z.Policy.Sign == config.SignExternal
}

// adopt makes the state fit the file that stands in signed/: a run may have
// ended between the rename and the saving of the state, or the state was lost.
// Nothing is known then of whether that very serial is served.
func (j *job) adopt(t *Tree) {
	s := j.state
	if s.Serial != j.head.serial || s.File != j.head.id {
		s.Serial, s.File, s.Confirmed = j.head.serial, j.head.id, false
		s.Oldest = time.Time{}
		s.Signed = j.signs()
		s.Unsigned = noFile // who committed may have ended before the copy
		if j.external() {
			s.Unsigned = t.unsignedID(j.z.Name)
		}
	}
}

// noFile is the identity of no file: the next pass that can writes it.
var noFile = FileID{Size: -1}

// planned is a plan for a signed or an unsigned zone.
type planned struct {
	plan      *dnssec.Plan // nil: unsigned
	reasons   []string
	new, kept int
	next      time.Time
}

func (p *pass) plan(j *job, candidate *zone.Zone) (planned, error) {
	var out planned
	prev := j.prev
	if !j.prevOK {
		prev = nil // no signature of it is kept
	}
	if j.signs() {
		keys, faults := dnssec.LoadKeys(p.tree.keys, j.z.Name, dnssec.LoadOptions{})
		if faults.HasErrors() {
			err := fmt.Errorf("load the keys of %s: %s", j.z.Name, faults[0])
			if !j.state.standing("keys", err.Error()) {
				j.res.Diagnostics = append(j.res.Diagnostics, faults[1:]...) // the first is in the error
				j.res.FaultsNew = true
			}
			return out, err
		}
		j.keys = keys
		plan, err := dnssec.NewPlan(candidate, keys, signPolicy(&j.z.Policy), prev, j.now)
		if errors.Is(err, dnssec.ErrKeys) && j.prev != nil && len(j.prev.DNSKEYs()) > 0 {
			err = fmt.Errorf("%w: those that %s is published with are not in %s: put them back", dnssec.ErrKeys, j.z.Name, p.tree.Config.Paths.Keys)
		}
		if err != nil {
			return out, err
		}
		out = planned{plan, plan.Reasons, plan.New, plan.Kept, plan.Next}
	} else {
		switch {
		case prev == nil:
			out.reasons = []string{"there is no published zone yet"}
		case !prev.SameRecords(candidate):
			out.reasons = []string{"the records changed"}
		}
	}
	if j.prev != nil && (j.changed || !j.prevOK && out.reasons != nil) {
		out.reasons = []string{"signed/ was lost or changed"}
	}
	return out, nil
}

func signPolicy(p *config.Policy) dnssec.Policy {
	return dnssec.Policy{
		Validity: p.Validity, Refresh: p.Refresh, InceptionOffset: p.InceptionOffset,
		Spread: p.Spread, DNSKEYTTL: uint32(p.DNSKEYTTL / time.Second),
		Denial: map[string]dnssec.Denial{"nsec3": dnssec.NSEC3, "nsec3-opt-out": dnssec.NSEC3OptOut}[p.Denial],
		CDS:    map[string]dnssec.CDS{"true": dnssec.PublishCDS, "delete": dnssec.DeleteCDS}[p.CDS],
		ZoneMD: map[string]uint8{"sha384": dns.ZoneMDHashAlgSHA384, "sha512": dns.ZoneMDHashAlgSHA512}[p.ZoneMD],
	}
}

// nextSerial is ahead of what is published and of what is served.
func (p *pass) nextSerial(ctx context.Context, j *job, candidate *zone.Zone) (serial, served uint32, hasServed bool, err error) {
	s := soa.SerialState{}
	switch {
	case j.prev != nil:
		s.Previous, s.HasPrevious = j.prev.Serial(), true
	case j.head.err == nil:
		s.Previous, s.HasPrevious = j.head.serial, true
	}
	if j.state.Serial != 0 && (!s.HasPrevious || ahead(j.state.Serial, s.Previous)) {
		s.Previous, s.HasPrevious = j.state.Serial, true
	}
	if v, ok := p.tree.rememberedSerial(j.z.Name); ok && (!s.HasPrevious || ahead(v, s.Previous)) { // all else is lost, or the zone was retired
		s.Previous, s.HasPrevious = v, true
	}
	if v, ok := p.served(ctx, j.z.Name); ok {
		s.Served, s.HasServed = v, true
	}
	serial, err = soa.Next(s, candidate.Serial(), soa.Policy(j.z.Policy.Serial), j.now)
	return serial, s.Served, s.HasServed, err
}

func ahead(a, b uint32) bool {
	c, ok := soa.Compare(a, b)
	return ok && c > 0
}

// largeZone is the number of records from which on memory is worth a collection.
const largeZone = 50_000

// product is a zone that is ready to be written. It is emptied on the way: the
// verifier takes the room of the signer.
type product struct {
	zone      *zone.Zone
	signed    *dnssec.Signed // nil: unsigned
	header    Header
	serial    uint32
	served    uint32
	hasServed bool
}

// sign prepares the signatures of a candidate, and asks the guards that know of
// them.
func (p *pass) sign(j *job, candidate *zone.Zone, made planned, serial, served uint32, hasServed bool) (out *product, refused []guard.Finding, err error) {
	facts := p.facts(j, candidate)
	facts.Serial, facts.Served, facts.HasServed = serial, served, hasServed
	out = &product{header: Header{Input: j.input}, serial: serial, served: served, hasServed: hasServed}
	if j.held != "" {
		out.header.Input = j.prevIn
	}
	facts.OldestLeft = facts.ExpiryFloor
	if made.plan == nil {
		if out.zone, err = candidate.WithSerial(serial); err != nil {
			return nil, nil, err
		}
		j.res.Records = out.zone.Records().Len()
	} else {
		s, err := dnssec.Sign(made.plan, serial)
		if err != nil {
			return nil, nil, err
		}
		out.signed, out.zone, out.header.Next = s, s.Zone(), s.Next
		s.Progress = p.progress(j, StageSign)
		facts.OldestLeft, j.oldest = s.Oldest.Sub(j.now), s.Oldest
		j.res.Records, j.res.NewSigs, j.res.KeptSigs = s.Records, s.New, s.Signatures-s.New
	}
	return out, guard.Check(facts, p.approved(j, candidate)), nil
}

// commit stages, verifies, checks and renames.
func (p *pass) commit(ctx context.Context, j *job, out *product) error {
	t := p.tree
	j.endUnsigned(p) // of what is rolled back
	z, s, header, serial := out.zone, out.signed, out.header, out.serial
	var body io.WriterTo = z
	if s != nil {
		body = s
	}
	external := j.external()
	follows := s != nil && (j.prevOK || t.holding != nil) // it will be compared, or held
	unsigned, late := func() error { return nil }, false
	if whole := z; j.held == "" && !external {
		unsigned = sync.OnceValue(func() error { return t.writeUnsigned(whole) })
		if late = s != nil && j.prevOK; !late { // z is let go of while it is written
			unsigned = aside(unsigned)
			defer unsigned() // nobody else may write there while it is not done
		}
	}
	name := j.z.Name.FileName()
	dir := t.Config.Paths.Signed
	if external {
		dir = t.Config.Paths.Unsigned
	}
	begun := p.clock()
	staging := p.o.Beside.does("write to %s", dir)
	staged, err := durable.Stage(dir, name, t.outputMode())
	staging()
	if err != nil {
		return err
	}
	defer staged.Discard()
	signed := s != nil
	if t.holding != nil && signed {
		s.Hold()
	}
	disk := &slowWriter{Writer: staged, clock: p.clock}
	var to io.Writer = disk
	var back *readBehind
	if follows {
		expect := 0
		if j.prevOK {
			expect = len(j.prev.Data()) + 1<<16
		}
		if back, err = newReadBehind(disk, staged.Path(), expect); err != nil {
			return err
		}
		defer back.end()
		to = back
	}
	if err := writeBody(to, body); err != nil {
		return fmt.Errorf("write %s: %w", staged.Path(), err)
	}
	flushed := func() error { return nil }
	if disk.n >= holdFrom { // the disk works while the verifier does
		flushed = aside(staged.Flush)
		defer flushed()
	}
	p.tookFor(StageSign, p.clock()-begun-disk.took)
	var ledger *verify.Ledger
	if signed {
		ledger = s.Ledger()
	}
	tlsa, boxed := t.tlsaOf(j, z), p.boxedIn(j, z.Records())
	z, body, out.zone, out.signed = nil, nil, nil, nil
	if t.holding == nil {
		s = nil
	}
	if j.res.NewSigs > largeZone {
		runtime.GC() // the verifier takes the room of the signer
	}
	begun = p.clock()
	v, err := p.verify(j, staged.Path(), back, ledger, signed)
	if err != nil {
		return err
	}
	p.took(StageVerify, begun)
	header.Body = v.body
	if err := writeHeader(staged, header); err != nil {
		return fmt.Errorf("write %s: %w", staged.Path(), err)
	}
	p.o.Log.Debug("staged and verified", "zone", j.z.Name, "serial", serial, "signatures", j.res.NewSigs+j.res.KeptSigs)
	if err := p.o.Server.Check(ctx, j.z.Name, staged.Path()); err != nil {
		return fmt.Errorf("check %s: %w", j.z.Name, err)
	}
	if !late {
		if err := unsigned(); err != nil {
			return err
		}
	}
	if err := t.rememberSerial(j, serial); err != nil {
		return err
	}
	begun = p.clock()
	if err := flushed(); err != nil {
		return err
	}
	renaming := p.o.Beside.does("publish %s in %s", name, dir)
	err = staged.Commit(time.Time{})
	renaming()
	if err != nil {
		return err
	}
	p.tookFor(StageWrite, p.clock()-begun+disk.took)
	p.o.Log.Debug(Committed, "zone", j.z.Name, "serial", serial)
	p.hold(j, s, v, header)
	if external { // else there would be two products
		if err := durable.Remove(filepath.Join(t.Config.Paths.Signed, name)); err != nil {
			return err
		}
	}
	j.afterCommit(serial, header, t)
	if late { // the signed zone was in more of a hurry
		j.unsigned = aside(unsigned)
	}
	j.state.Boxed = boxed
	j.rememberTLSA(tlsa)
	if external {
		awaited := uint32(0)
		if out.hasServed {
			awaited = out.served + 1
		}
		j.state.Awaited = &awaited
	}
	return nil
}

// endUnsigned waits for the unsigned copy that is written behind a commit.
func (j *job) endUnsigned(p *pass) {
	if j.unsigned == nil {
		return
	}
	t := p.tree
	written := p.takesNoTime(j, "write to %s", t.Config.Paths.Unsigned)
	err := j.unsigned()
	written()
	j.unsigned = nil
	j.state.Unsigned = t.unsignedID(j.z.Name)
	if err != nil {
		j.fail("build-failed", err)
		j.state.Unsigned = noFile
	}
}

// Committed is the message of the log, at debug, when a zone stands in signed/.
const Committed = "committed"

// hold keeps in memory what was committed.
func (p *pass) hold(j *job, s *dnssec.Signed, v verified, h Header) {
	if s == nil || v.data == nil {
		return
	}
	path := p.tree.PublishedPath(j.z.Name)
	copy(v.data, h.String())
	prev, err := s.Previous(path, v.data)
	if err != nil {
		p.o.Log.Warn("hold the zone", "zone", j.z.Name, "err", err) // it will be read
		return
	}
	if is, ok := identify(path); ok {
		p.tree.holding.remember(j.z.Name, heldZone{is, prev, h.Input, v.trusted})
	}
}

func (j *job) afterCommit(serial uint32, header Header, t *Tree) {
	s := j.state
	s.Serial, s.Published, s.Confirmed = serial, j.now.UTC(), false
	s.Signed = j.signs()
	s.NewZone, s.Awaited = false, nil
	s.Oldest = j.oldest.UTC()
	s.Keys = nil
	for i := range j.keys {
		if k := &j.keys[i]; k.Published {
			s.Keys = append(s.Keys, keyID(k.DNSKEY.Algorithm, k.Tag))
		}
	}
	if j.held == "" {
		s.HostRecords, s.Accepted = j.host, j.faults
		s.Approved = nil // one-shot
	}
	s.SameInput = ""
	j.head = t.readHead(j.z.Name)
	s.File = j.head.id
	if j.held == "" || j.external() {
		s.Unsigned = t.unsignedID(j.z.Name)
	}
	j.res.Serial, j.res.Next = serial, header.Next
	j.reload = true
}
