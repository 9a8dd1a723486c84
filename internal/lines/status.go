package lines

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/config"
)

// Status is what is told of a line.
type Status struct {
	Line       string              `json:"line"`
	Names      []string            `json:"names"`
	Generation int                 `json:"generation,omitempty"`
	NotBefore  time.Time           `json:"not_before,omitzero"`
	NotAfter   time.Time           `json:"not_after,omitzero"` // zero: there is no certificate
	Renewal    *acmeclient.Renewal `json:"renewal,omitempty"`
	Revoked    *Revoked            `json:"revoked,omitempty"` // nil: the live certificate is not
	Key        *KeyStatus          `json:"key,omitempty"`
	NextKey    *KeyStatus          `json:"next_key,omitempty"`
	Gate       map[string]Clock    `json:"gate,omitempty"` // of the next key, by owner of TLSA records
	Services   []ServiceStatus     `json:"services,omitempty"`
	Steps      []string            `json:"due,omitempty"`   // that the next run takes
	Waits      []Wait              `json:"waits,omitempty"` // what comes later
	Error      string              `json:"error,omitempty"` // of the last run
	ErrorAt    time.Time           `json:"error_at,omitzero"`
	Alarm      *Alarm              `json:"alarm,omitempty"` // what the operator must look at
}

// KeyStatus is what is told of a key.
type KeyStatus struct {
	ID      string    `json:"id"`
	SHA256  string    `json:"spki_sha256"`
	Created time.Time `json:"created,omitzero"`
	InUse   time.Time `json:"in_use,omitzero"` // since when it is the live one; zero: it is not
}

// ServiceStatus is what is told of a service.
type ServiceStatus struct {
	Name    string    `json:"name"`
	Serves  bool      `json:"serves"` // the live certificate, when it was last asked
	At      time.Time `json:"at,omitzero"`
	ByHand  bool      `json:"by_hand,omitempty"`
	Unasked bool      `json:"unasked,omitempty"` // it cannot be asked
	Lag     string    `json:"lag,omitempty"`     // why it is not known to serve it
	NoRoute []string  `json:"no_route,omitempty"`
}

// Status tells where a line is, from what is stored: nobody is asked. CA may be nil.
func (k *Keeper) Status(l config.Line) (Status, error) {
	s := Status{Line: l.Name, Names: l.Names}
	files, err := PathsOf(k.Config, l.Name).Read(l)
	if err != nil && (l.CSR == "" || files.Live != nil || !errors.Is(err, fs.ErrNotExist)) { // the request is still to be made
		return s, fmt.Errorf("line %s: %w", l.Name, err)
	}
	state, err := LoadState(k.Config, l.Name)
	if err != nil {
		return s, fmt.Errorf("line %s: %w", l.Name, err)
	}
	if _, err := k.heed(&state, files.Live, k.Config.ServicesOf(l), l.Name); err != nil {
		return s, fmt.Errorf("line %s: %w", l.Name, err)
	}
	in := Input{
		Line: l, Services: k.Config.ServicesOf(l), Files: files, State: state,
		Params: Params{TTLs: k.Config.TTLs, Margin: k.Config.Margin}, Wanted: wanted(k.Config), Now: k.Now(),
	}
	if k.CA != nil {
		if err = in.onTheWay(k.CA); err != nil {
			return s, fmt.Errorf("line %s: %w", l.Name, err)
		}
	}
	if at := state.Retry.until(in.Now); at.After(in.RetryAt) {
		in.RetryAt = at
	}
	plan := Decide(in)
	for _, d := range plan.Steps {
		s.Steps = append(s.Steps, fmt.Sprintf("%s: %s", d.Step, d.Why))
	}
	s.Waits, s.Renewal, s.Error, s.ErrorAt = plan.Waits, state.Renewal, state.Error, state.ErrorAt
	s.NextKey = keyStatus(files.Next)
	if files.Live != nil && state.Revoked.Cert == files.Live.ID() {
		s.Revoked = &state.Revoked
	}
	if files.Next != nil && state.Gate.Key == files.Next.Hash() {
		s.Gate = state.Gate.Owners
	}
	if g := files.Live; g != nil {
		s.Generation, s.NotBefore, s.NotAfter, s.Key = g.Number, g.Leaf().NotBefore, g.Leaf().NotAfter, keyStatus(g.Key)
		if s.Key != nil {
			s.Key.InUse = state.inUse(g).Since
		}
	}
	for _, v := range in.Services {
		seen := state.Served[v.Name]
		lag, _ := in.lag(v)
		s.Services = append(s.Services, ServiceStatus{
			Name: v.Name, Serves: files.Live != nil && seen.Cert == files.Live.ID(), At: seen.At, ByHand: seen.ByHand, Unasked: v.ProbeOff, Lag: lag.Text, NoRoute: seen.NoRoute,
		})
	}
	s.Alarm = alarm(in)
	return s, nil
}

func keyStatus(k *Key) *KeyStatus {
	if k == nil {
		return nil
	}
	return &KeyStatus{ID: k.ID, SHA256: k.Hash(), Created: k.Created}
}

// WhyNot says in one line why there is nothing yet.
func (s Status) WhyNot() string {
	switch {
	case s.Error != "":
		return s.Error
	case len(s.Waits) > 0 && s.Waits[0].At.IsZero():
		return s.Waits[0].Why
	case len(s.Waits) > 0:
		return s.Waits[0].Why + " until " + s.Waits[0].At.UTC().Format(time.RFC3339)
	}
	return "nothing is due"
}
