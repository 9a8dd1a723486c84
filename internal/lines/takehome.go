package lines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zonebuild/internal/acmeclient"
)

// takeHome stores a certificate, makes it live, and only then forgets its order. One
// for a new key goes live only if the gate is open now: to wait for the CA took time.
// Otherwise its order stays. The live certificate itself comes from an order that was
// left over, stored and not forgotten; from a new one it is a fault of the CA, that must
// not be asked again at once.
func (r *run) takeHome(ctx context.Context, f Files, got *acmeclient.Certificate, leftOver bool) error {
	for _, note := range got.Notes {
		r.Log(r.line.Name, note)
	}
	if f.Live != nil && f.Live.Leaf().Equal(got.Chain[0]) {
		err := r.CA.Forget(r.line.Name)
		if !leftOver {
			err = errors.Join(errors.New("the CA gave the live certificate again, and no new one"), err)
		}
		return err
	}
	var key *Key
	for _, k := range []*Key{f.Next, liveKey(f)} {
		if k != nil && k.ID == got.Key {
			key = k
		}
	}
	if key == nil {
		return fmt.Errorf("store the certificate: it is for the key %s, which is not here", got.Key)
	}
	change := f.Live == nil || f.Live.Hash() != key.Hash()
	if change && !r.word.Break {
		if why := r.shut(ctx, f); why != "" {
			r.Log(r.line.Name, "the certificate for the next key is there, but it waits: "+why)
			return nil
		}
	}
	number, err := r.paths.fresh(f)
	if err != nil {
		return fmt.Errorf("store the certificate: %w", err)
	}
	if err := r.paths.install(r.line, got.Chain, key, number); err != nil {
		return fmt.Errorf("store the certificate: %w", err)
	}
	r.fresh = true
	r.state.Source = Source{}
	if o, found, err := r.CA.Order(r.line.Name); err == nil && found {
		r.state.Source = Source{Cert: hash(got.Chain[0].Raw), Directory: o.Directory, Profile: o.Profile, Issuer: o.Issuer}
	}
	if change || !r.word.Break { // an order that was on its way is not the new key that is wanted
		r.word = Word{}
	}
	if change {
		r.state.Rollover = time.Time{}
	}
	r.state.Stored, r.state.Retry = r.state.Stored.next(got.Chain[0], r.Now()), Retry{}
	r.state.Deploy, r.state.Lags, r.state.ChangeFailed = Deploy{Generation: number, Cert: hash(got.Chain[0].Raw)}, nil, ""
	if err := r.save(); err != nil {
		return err
	}
	if err := r.CA.Forget(r.line.Name); err != nil {
		return err
	}
	next := f.Next
	if next != nil && next.ID == key.ID {
		next = nil
	}
	return r.paths.prune(number, r.line.Keep, next)
}

// shut says why the next key must not be used now, after one more look at DNS; empty:
// it may.
func (r *run) shut(ctx context.Context, f Files) string {
	r.looked = false
	r.look(ctx, f)
	p := Params{TTLs: r.Config.TTLs, Margin: r.Config.Margin}
	at, why := r.state.Gate.allows(r.line, f.Next, r.services, p, f.Live == nil)
	if at.IsZero() && why != "" || at.After(r.Now()) {
		return why
	}
	return ""
}
