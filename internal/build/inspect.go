package build

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/guard"
	"zonebuild/soa"
	"zonebuild/zone"
)

// Check compiles zones and returns every fault, those of their keys too; it writes
// nothing. A line of certs.map that cannot be read is an error here. Where no private key is, such as in a checkout, only public keys are
// looked at.
func (t *Tree) Check(ctx context.Context, names []domain.Name, now time.Time) (diag.List, error) {
	zones, err := t.choose(names)
	if err != nil {
		return nil, err
	}
	if err := t.scanBoxes(ctx, now, false); err != nil {
		return nil, err
	}
	t.scanHostKeys()
	t.scanCerts()
	all, _ := t.boxFaults()
	strays, _, err := t.strayFaults(ctx, false)
	if err != nil {
		return nil, err
	}
	all = append(all, strays...)
	if err := t.notMounted(); err != nil {
		all.Errorf(diag.Pos{File: config.File}, "not-mounted", "", "%s", err)
	}
	p := t.newPass(ctx, Options{Now: now, DryRun: true, Log: slog.New(slog.DiscardHandler)})
	for _, z := range zones {
		j := p.start(z)
		j.head = t.readHead(z.Name)
		p.rollOver(j)
		_, _, faults := t.compile(z)
		all = append(all, faults...)
		if z.Policy.Signed() {
			_, faults = dnssec.LoadKeys(t.keys, z.Name, dnssec.LoadOptions{PublicOnly: !t.keys.Private()})
			all = append(all, faults...)
		}
	}
	for i := range all { // a build goes on without the line; its author is to know before that
		if t.certs.broken[all[i].String()] {
			all[i].Severity = diag.Error
		}
	}
	all.Sort()
	return all, nil
}

// Difference is what publishing the sources of a zone would change.
type Difference struct {
	Zone        domain.Name     `json:"zone"`
	Changes     []zone.Change   `json:"changes"`
	Kept        string          `json:"kept,omitempty"` // why the last good records stay whatever the sources say
	Refusals    []guard.Finding `json:"refusals,omitempty"`
	Diagnostics diag.List       `json:"diagnostics,omitempty"`
}

// Diff compares the sources of zones with their last good records.
func (t *Tree) Diff(ctx context.Context, names []domain.Name, o Options) ([]Difference, error) {
	zones, err := t.choose(names)
	if err != nil {
		return nil, err
	}
	o.DryRun = true
	if err := t.scanBoxes(ctx, o.Now, false); err != nil {
		return nil, err
	}
	t.scanHostKeys()
	t.scanCerts()
	p := t.newPass(ctx, o)
	kept := ""
	if p.mounted != nil {
		kept = p.mounted.Error()
	}
	out := []Difference{}
	for _, z := range zones {
		d := Difference{Zone: z.Name, Changes: []zone.Change{}, Kept: kept}
		j := p.start(z)
		j.head = t.readHead(z.Name)
		p.rollOver(j)
		p.readBack(j)
		is, src, faults := t.compile(z)
		d.Diagnostics = faults
		if is != nil {
			var was *zone.Zone
			if j.prev != nil {
				if was, err = j.prev.Zone(); err != nil {
					return nil, err
				}
			}
			d.Changes = append(d.Changes, zone.Diff(was, is)...)
			j.input = src.input
			d.Refusals = p.preCheck(j, is, src)
			if was != nil && len(d.Changes) > 0 && z.Policy.Serial == config.SerialKeep {
				if _, err := soa.Next(soa.SerialState{Previous: was.Serial(), HasPrevious: true}, is.Serial(), soa.Keep, o.Now); err != nil {
					d.Refusals = append(d.Refusals, guard.Finding{Code: "serial-forward", Message: err.Error()})
				}
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// ZoneStatus is what is known of a zone now.
type ZoneStatus struct {
	Zone       domain.Name `json:"zone"`
	InTree     bool        `json:"in_tree"`
	Serial     uint32      `json:"serial,omitempty"`
	Published  time.Time   `json:"published,omitzero"`
	Confirmed  bool        `json:"confirmed"`
	Records    int         `json:"records"`
	Signatures int         `json:"signatures"`
	Oldest     time.Time   `json:"oldest_expiration,omitzero"`
	Keys       []KeyStatus `json:"keys,omitempty"`
	Alarms     []Alarm     `json:"alarms,omitempty"`
	Refused    []Refusal   `json:"refused,omitempty"`
	Next       string      `json:"next"` // what happens next
	NextAt     time.Time   `json:"next_at,omitzero"`
}

// KeyStatus is one key of a zone.
type KeyStatus struct {
	Tag       uint16 `json:"tag"`
	Algorithm uint8  `json:"algorithm"`
	Role      string `json:"role"` // KSK, ZSK or CSK
	Published bool   `json:"published"`
	Signs     bool   `json:"signs"`
}

// Status reports on zones; with no names, on all zones of the tree and on those
// that are still published but are no longer in it.
func (t *Tree) Status(names []domain.Name, now time.Time) ([]ZoneStatus, error) {
	zones, err := t.choose(names)
	if err != nil {
		return nil, err
	}
	out := []ZoneStatus{}
	for _, z := range zones {
		s := t.published(z.Name, now)
		if s.InTree = t.Config.Find(z.Name) != nil; !s.InTree {
			s.Next += "; it is not in the tree (zonebuild retire " + z.Name.String() + ")"
		}
		if z.Policy.Sign == config.SignTrue {
			keys, faults := dnssec.LoadKeys(t.keys, z.Name, dnssec.LoadOptions{})
			if faults.HasErrors() {
				s.alarm("keys", faults[0].String(), now)
			}
			for i := range keys {
				s.Keys = append(s.Keys, keyStatus(&keys[i]))
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func keyStatus(k *dnssec.Key) KeyStatus {
	role := "ZSK"
	switch {
	case k.KSK && k.ZSK:
		role = "CSK"
	case k.KSK:
		role = "KSK"
	}
	return KeyStatus{k.Tag, k.DNSKEY.Algorithm, role, k.Published, k.SignsZone || k.SignsKeys}
}

// overdue is how long signatures may be due before it is an alarm: whoever builds
// once a day is not late.
const overdue = 36 * time.Hour

// alarm adds what was found now; an alarm of that code that stands is older.
func (s *ZoneStatus) alarm(code, message string, now time.Time) {
	if !slices.ContainsFunc(s.Alarms, func(a Alarm) bool { return a.Code == code }) {
		s.Alarms = append(s.Alarms, Alarm{Code: code, Message: message, Since: now})
	}
}

func (t *Tree) published(apex domain.Name, now time.Time) ZoneStatus {
	s := ZoneStatus{Zone: apex}
	state, err := t.loadState(apex)
	if err != nil {
		s.alarm("state-damaged", err.Error(), now)
	}
	s.Alarms = append(s.Alarms, state.Alarms...)
	s.Refused = state.Refused
	head := t.readHead(apex)
	if head.err != nil {
		s.Next = "the next build publishes it"
		switch {
		case head.exists:
			s.alarm("signed-damaged", fmt.Sprintf("signed/: %s", head.err), now)
		case state.Serial != 0:
			s.alarm("signed-damaged", fmt.Sprintf("the published file is gone: serial %d was in it", state.Serial), now)
		case err != nil, readHead(apex, t.lastGoodPath(apex)).err == nil:
			s.alarm("signed-damaged", "the published file is gone", now)
		default:
			s.alarm("not-published", "the zone was not published yet", now)
		}
		return s
	}
	s.Serial, s.Published = head.serial, state.Published
	s.Confirmed = state.Confirmed && state.Serial == head.serial
	if state.Serial != head.serial {
		s.alarm("unconfirmed", fmt.Sprintf("nothing is known of serial %d, which is published: the next build asks", head.serial), now)
	}
	prev, _, err := t.readPublished(apex, t.PublishedPath(apex))
	if err != nil {
		s.alarm("signed-damaged", err.Error(), now)
		prev, err = t.Previous(apex)
	}
	if err == nil {
		s.Records, s.Signatures = prev.Counts()
		if first, _, ok := prev.Expirations(now); ok {
			s.Oldest = first
		}
	}
	switch next := head.header.Next; {
	case !s.Oldest.IsZero() && s.Oldest.Before(now):
		s.alarm("signatures-overdue", fmt.Sprintf("a signature ran out at %s: does anybody run build?", s.Oldest.Format(time.RFC3339)), now)
	case !next.IsZero() && now.Sub(next) > overdue:
		s.alarm("signatures-overdue", fmt.Sprintf("signatures were due at %s and are not made anew: does anybody run build?", next.Format(time.RFC3339)), now)
	}
	switch {
	case !s.Confirmed:
		s.Next = "the next build asks the name server again"
	case !head.header.Next.IsZero():
		s.Next, s.NextAt = "signatures are made anew", head.header.Next
	default:
		s.Next = "nothing until the records change"
	}
	return s
}

// Approve lets the candidate that a guard refused through, once. Errors: the
// guard has no override, or has refused nothing.
func (t *Tree) Approve(ctx context.Context, apex domain.Name, code string, now time.Time) (Refusal, error) {
	if t.Config.Find(apex) == nil {
		return Refusal{}, cli.Usagef("zone %s is not in the tree", apex)
	}
	i := slices.IndexFunc(guard.Table(), func(g guard.Guard) bool { return g.Code == code })
	switch {
	case code == "load-failed":
	case i < 0:
		return Refusal{}, cli.Usagef("there is no guard %q (docs/guards.md lists them)", code)
	case !guard.Table()[i].Override:
		return Refusal{}, cli.Usagef("guard %s has no override", code)
	}
	var approved Refusal
	err := t.withState(ctx, apex, func(s *State) error {
		if code == "load-failed" {
			if s.FailedInput == "" {
				return fmt.Errorf("approve %s %s: no input is held back", apex, code)
			}
			approved = Refusal{Guard: code, Candidate: s.FailedInput, Message: "the input is tried again", Override: true, At: now}
			s.FailedInput = ""
			return nil
		}
		i := slices.IndexFunc(s.Refused, func(r Refusal) bool { return r.Guard == code })
		if i < 0 {
			return fmt.Errorf("approve %s %s: the guard has not refused this zone", apex, code)
		}
		approved = s.Refused[i]
		if !approved.Override {
			return fmt.Errorf("approve %s %s: it would not help: the keys that are left cannot sign", apex, code)
		}
		s.Approved = append(s.Approved, Refusal{code, approved.Candidate, approved.Message, true, now.UTC()})
		return nil
	})
	return approved, err
}

// withState changes the state of a zone under its lock.
func (t *Tree) withState(ctx context.Context, apex domain.Name, f func(*State) error) error {
	if err := t.makeDirs(nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock, err := durable.LockWait(ctx, t.lockPath(apex))
	if err != nil {
		return fmt.Errorf("lock %s: %w", apex, err)
	}
	defer lock.Unlock()
	s, err := t.loadState(apex)
	if err != nil {
		return err
	}
	if err := f(s); err != nil {
		return err
	}
	return t.saveState(apex, s)
}

func (t *Tree) lockPath(apex domain.Name) string {
	return filepath.Join(t.Config.Paths.State, apex.FileName()+".lock")
}
