package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/rrset"
	"zonebuild/tlsa"
)

// rolling is the work at one owner in one pass.
type rolling struct {
	group    tlsa.Group
	keys     []tlsa.Keys
	set      ownerSet // as published
	hand     []tlsa.Record
	was      rollover
	known    bool // was is not empty
	input    string
	changed  bool
	look     bool
	looked   bool
	observed tlsa.Observed
}

// rollOver moves the TLSA records of a zone on. It runs under the lock of the
// zone, or in a pass that writes nothing.
func (p *pass) rollOver(j *job) {
	t, c := p.tree, p.tree.certs
	if c == nil || j.res.Orphan {
		return
	}
	groups := c.groups[j.z.Name]
	st, err := t.loadTLSA(j.z.Name)
	lost := err != nil || st == nil && j.state.Rollovers != rolloversNone
	lost = lost && len(t.publishedOwners(j)) > 0
	if len(groups) == 0 && st == nil && c.partial == "" && !lost {
		j.state.clear("certificates")
		j.state.Rollovers = rolloversNone
		return
	}
	if err != nil {
		p.o.Log.Warn("read the rollovers", "zone", j.z.Name, "err", err)
		j.state.raise("state-damaged", err.Error(), j.now)
	}
	if st == nil {
		st = &tlsaState{}
	}
	made := &rollovers{groups: groups, faults: slices.Clone(c.faults[j.z.Name])}
	work, able := p.gather(j, groups, st)
	made.stale = !able
	sure := able && p.mounted == nil // of what is written by hand
	left, faults := p.leftOwners(j, st, groups, able, lost && sure)
	made.faults = append(made.faults, faults...)
	if c.gone && slices.ContainsFunc(left, func(o rollover) bool { return !o.Lost }) {
		made.faults.Warnf(diag.Pos{File: c.name}, "certs-map-gone", "", "the certificate map is gone; what is published stays (zonebuild tlsa retire ends it)")
	}
	made.faults = append(made.faults, st.Hand.replaced(groups)...)
	p.lookAround(j, work)
	var owners []rollover
	for i := range work {
		owners = append(owners, p.step(j, &work[i], able))
		made.moving = append(made.moving, p.moves(j, &work[i], &owners[i]))
	}
	made.owners = owners
	for _, o := range owners {
		made.faults = append(made.faults, o.Faults...)
	}
	made.faults.Sort()
	for _, o := range left {
		g, err := groupOf(o.Owner, c.name)
		if err != nil {
			continue // cannot happen: it was one a moment ago
		}
		made.left, made.leftOwners = append(made.left, g), append(made.leftOwners, o)
	}
	j.reader = nil
	if len(groups) > 0 || len(left) > 0 || len(made.faults) > 0 {
		c.set(j.z.Name, made)
	}
	p.certAlarm(j, made)
	if p.o.DryRun || lost && !sure { // it stays lost until the sources can be read
		return
	}
	owners = append(owners, left...) // their lines may come back
	slices.SortFunc(owners, func(a, b rollover) int { return a.Owner.Compare(b.Owner) })
	if st.Owners = owners; len(owners) == 0 && st.was == nil {
		j.state.Rollovers = rolloversNone
		return
	}
	j.state.Rollovers = rolloversKept
	if err := t.saveTLSA(j.z.Name, st); err != nil {
		j.fail("build-failed", err)
	}
}

// gather finds out for each owner what its step would be made of, and whether that
// is anything new. It is not able to when the sources of the zone cannot be read, or
// what was published cannot be: what was decided before holds.
func (p *pass) gather(j *job, groups []tlsa.Group, st *tlsaState) (work []rolling, able bool) {
	t := p.tree
	owners := slices.Clone(groups)
	for _, o := range st.Owners {
		if !slices.ContainsFunc(groups, func(g tlsa.Group) bool { return g.Owner == o.Owner }) {
			owners = append(owners, tlsa.Group{Owner: o.Owner})
		}
	}
	hand, able := t.handTLSA(j.z, owners, st.Hand)
	st.Hand = hand
	reader := p.reader(j)
	params := fmt.Sprintf("%+v", p.tlsaParams(j))
	for _, g := range groups {
		w := rolling{group: g}
		if was := st.find(g.Owner); was != nil {
			w.was, w.known = *was, true
		}
		w.was.Owner, w.was.Adopted, w.was.Lost = g.Owner, false, false
		var err error
		if w.set, err = reader.of(g); err != nil {
			p.o.Log.Warn("read back the published TLSA records", "zone", j.z.Name, "err", err)
			able = able && !w.known
		}
		set, _ := findSet(hand.Sets, g.Owner)
		w.hand = set.Records
		w.keys = t.certs.keys(g)
		w.input = w.digest(p.isConfirmed(j), params)
		w.changed = !w.known || w.was.Input != w.input
		since := j.now.Sub(w.was.Looked)
		w.look = p.o.Observer != nil && !p.o.DryRun && (w.changed || since < 0 || !j.now.Before(w.was.wake(j.now)))
		work = append(work, w)
	}
	var zone *rrset.Set
	for i := range work {
		w := &work[i]
		if w.look = w.look && able; w.look && len(w.set.Addrs) == 0 { // a new host
			if zone == nil {
				zone = t.handWritten(j.z)
			}
			for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
				lo, hi := zone.FindRRset([]byte(w.group.Host.Wire()), typ)
				w.set.addresses(zone, lo, hi)
			}
		}
	}
	return work, able
}

// rest is how long nobody looks at an owner of which nothing is new.
func (r *rollover) rest(now time.Time) time.Duration {
	quiet := r.Set.Phase == tlsa.PhaseSteady || r.Set.Phase == tlsa.PhaseReady || now.Sub(r.Set.Since) >= lookLong
	if quiet && !r.Set.Guarded {
		return lookSteady
	}
	return lookMoving
}

// isConfirmed reports whether the published file is known to be served.
func (p *pass) isConfirmed(j *job) bool {
	return j.head.err == nil && j.state.Confirmed && j.state.File == j.head.id && j.state.Serial == j.head.serial
}

// digest covers all that a step depends on, but for the time and what is seen.
func (w *rolling) digest(confirmed bool, params string) string {
	h := sha256.New()
	for _, l := range w.group.Lines {
		l.Pos = diag.Pos{}
		fmt.Fprintf(h, "line %+v\n", l)
	}
	file := func(k tlsa.FileKey) {
		if k.Material == nil {
			fmt.Fprintf(h, "none %v\n", k.Err)
			return
		}
		fmt.Fprintf(h, "key %x %x\n", sha256.Sum256(k.Material.SPKI), sha256.Sum256(k.Material.Cert))
	}
	for _, k := range w.keys {
		file(k.Live)
		file(k.Next)
	}
	fmt.Fprintln(h, w.set.TTL, w.set.Records, w.set.Addrs, confirmed, w.hand, w.was.Marks, params)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// step moves one owner on, if there is a reason to.
func (p *pass) step(j *job, w *rolling, able bool) rollover {
	is := w.was
	if !able {
		return is
	}
	seen := slices.ContainsFunc(w.observed.Hosts, func(h tlsa.HostSeen) bool { return h.Reach == tlsa.Answered })
	again := w.changed || w.looked || p.preview
	if w.looked {
		is.Looked = j.now
	} else if w.look && p.o.Beside != nil {
		is.Looked = time.Time{} // its answer is on the way
	}
	if !again {
		return is
	}
	is.Input = w.input
	from := before{w.was.State, w.was.Marks}
	if w.was.withdrawn(w.set.Records, w.hand) { // it was not published so far
		from.State = w.was.Before.State
		from.Marks.Retire = from.Marks.Retire || w.was.Before.Marks.Retire
		from.Marks.Accept = from.Marks.Accept || w.was.Before.Marks.Accept
	}
	set, state, faults := tlsa.Step(tlsa.Input{
		Group: w.group, Keys: w.keys, Hand: w.hand, State: from.State, Observed: w.observed, Marks: tlsa.Marks(from.Marks),
		Published: tlsa.Published{Records: w.set.Records, TTL: w.set.TTL, Confirmed: p.isConfirmed(j)},
		Params:    p.tlsaParams(j), Now: j.now,
	})
	for _, d := range w.was.Faults { // what was seen, or not, of the hosts still holds
		if !seen && (d.Code == "tlsa-unseen" || d.Code == "tlsa-mismatch" && !w.changed) {
			faults = append(faults, d)
		}
	}
	faults.Sort()
	if p.o.DryRun && !w.known || w.group.Lines[0].ProbeOff { // a build looks; or nobody shall
		faults = slices.DeleteFunc(faults, func(d diag.Diagnostic) bool { return d.Code == "tlsa-unseen" })
	}
	is.Set, is.State, is.Faults, is.Before = decided(set), state, faults, &from
	if !is.withdrawn(w.set.Records, w.hand) {
		is.Before = nil
	}
	if is.Marks != (marks{}) { // they count once
		is.Marks, w.was.Marks = marks{}, marks{}
		is.Input = w.digest(p.isConfirmed(j), fmt.Sprintf("%+v", p.tlsaParams(j)))
	}
	return is
}

// tlsaParams are the waits of a zone's rollovers.
func (p *pass) tlsaParams(j *job) tlsa.Params {
	c := p.tree.Config.TLSA
	out := tlsa.Params{K: c.TTLs, Jitter: c.Jitter, Grace: c.Grace, Clock: c.Observe == config.ObserveClock, Propagate: c.Propagate}
	if c.Propagate == 0 {
		out.Propagate = j.head.refresh + j.head.retry
	}
	return out
}

// isAlarm reports whether a fault of a rollover is one that a person must know of.
func isAlarm(code string) bool {
	switch code {
	case "tlsa-file", "tlsa-next", "tlsa-surprise", "tlsa-mismatch", "tlsa-full", "tlsa-guard", "certs-map-gone", "certs-map-line-gone":
		return true
	}
	return false
}

// certAlarm raises or clears the alarm of a zone.
func (p *pass) certAlarm(j *job, made *rollovers) {
	i := slices.IndexFunc(made.faults, func(d diag.Diagnostic) bool { return isAlarm(d.Code) })
	switch {
	case i >= 0:
		d := made.faults[i]
		at := d.Owner
		if at == "" {
			at = d.Pos.String()
		}
		j.state.raise("certificates", at+": "+d.Message, j.now)
	default:
		j.state.clear("certificates")
	}
}
