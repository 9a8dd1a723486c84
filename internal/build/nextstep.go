package build

import (
	"slices"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// TLSAAfter is how the rollover at one owner stands after a pass.
type TLSAAfter struct {
	Owner   domain.Name `json:"owner"`
	Phase   tlsa.Phase  `json:"state"`
	Since   time.Time   `json:"since,omitzero"`
	Ready   bool        `json:"ready"`             // the next key may be deployed
	ReadyAt time.Time   `json:"ready_at,omitzero"` // when it may be, if nothing changes
	Next    time.Time   `json:"next_step,omitzero"`
	// Next is when the next step is to be made; zero = when something changes: the
	// sources of the zone cannot be read, or nobody looks.
}

// rollersAfter are the rollovers of a zone, and the files of certs/ that they rest on.
func (p *pass) rollersAfter(j *job) (out []TLSAAfter, files []string) {
	if p.tree.certs == nil {
		return nil, nil
	}
	r := p.tree.certs.of(j.z.Name)
	if r == nil {
		return nil, nil
	}
	for i, g := range r.groups {
		for _, l := range g.Lines {
			files = append(files, l.CertFile)
			if l.Next != "" {
				files = append(files, l.Next)
			}
		}
		o := &r.owners[i]
		a := TLSAAfter{Owner: g.Owner, Phase: o.Set.Phase, Since: o.Set.Since, Ready: o.Set.Ready, ReadyAt: o.Set.ReadyAt}
		if !r.stale && p.o.Observer != nil {
			if a.Next = o.wake(j.now); o.Looked.IsZero() || r.moving[i] && (j.res.Action == Published || j.res.Action == Confirmed) {
				a.Next = j.now // that it is published is what the next step goes by
			}
		}
		out = append(out, a)
	}
	slices.Sort(files)
	return out, slices.Compact(files)
}

// wake is when somebody has to look again at an owner of which nothing is new.
func (r *rollover) wake(now time.Time) time.Time {
	at := r.Looked.Add(r.rest(now))
	if ready := r.Set.ReadyAt; ready.After(r.Looked) && ready.Before(at) {
		return ready
	}
	return at
}

// moves reports whether the next step begins elsewhere than this one did, once this
// pass has published and seen served what it decided.
func (p *pass) moves(j *job, w *rolling, is *rollover) bool {
	if !p.isConfirmed(j) || len(is.Set.Records) > 0 && is.Set.TTL != w.set.TTL {
		return true
	}
	stands := func(list []tlsa.Record, r tlsa.Record) bool { return slices.Contains(list, r) }
	for _, r := range is.Set.Records {
		if !stands(w.set.Records, r) {
			return true
		}
	}
	return slices.ContainsFunc(w.set.Records, func(r tlsa.Record) bool { return !stands(is.Set.Records, r) && !stands(w.hand, r) })
}

// soonest is the earlier of two times that may be zero, which is never.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
