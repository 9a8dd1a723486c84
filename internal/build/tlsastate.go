package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/tlsa"
)

// tlsaState is what state/tlsa/ZONE.json holds. Without it nothing is withdrawn
// and all clocks begin anew.
type tlsaState struct {
	Hand   handTLSA   `json:"hand_written"`
	Owners []rollover `json:"owners"` // in canonical order

	was []byte // as it stands on disk
}

// rollover is what is known of one owner.
type rollover struct {
	Owner  domain.Name `json:"owner"`
	Looked time.Time   `json:"looked,omitzero"` // when servers and hosts were asked last
	Input  string      `json:"input"`           // digest of what the last step was made of
	Set    decided     `json:"set"`
	State  tlsa.State  `json:"state"`
	Faults diag.List   `json:"faults,omitempty"`
	Marks  marks       `json:"marks,omitzero"`
	Before *before     `json:"before,omitempty"`
	// Adopted: found published while a line of the map could not be read, or this
	// file was lost.
	Adopted bool `json:"adopted,omitempty"`
	// Lost: adopted since nobody knows whether a line ever asked for it.
	Lost bool `json:"lost,omitempty"`
}

// before is what a step began with that withdrew records. Until the zone without
// them is published, the next step begins there again: else they would look like
// records of which nothing is known.
type before struct {
	State tlsa.State `json:"state"`
	Marks marks      `json:"marks,omitzero"`
}

// decided is a tlsa.Set.
type decided struct {
	Records []tlsa.Record `json:"records,omitempty"`
	TTL     uint32        `json:"ttl"`
	Phase   tlsa.Phase    `json:"phase"`
	Since   time.Time     `json:"since"`
	Ready   bool          `json:"ready"`
	ReadyAt time.Time     `json:"ready_at,omitzero"`
	Waits   []string      `json:"waits,omitempty"`
	Guarded bool          `json:"guarded,omitempty"`
}

// marks is a tlsa.Marks.
type marks struct {
	Seen   bool `json:"seen,omitempty"`
	Retire bool `json:"retire,omitempty"`
	Accept bool `json:"accept,omitempty"`
}

func (t *Tree) tlsaPath(apex domain.Name) string {
	return filepath.Join(t.Config.Paths.State, "tlsa", apex.FileName()+".json")
}

// loadTLSA reads the rollovers of a zone; nil when there is no file. A damaged one
// gives an empty state with its error.
func (t *Tree) loadTLSA(apex domain.Name) (*tlsaState, error) {
	path := t.tlsaPath(apex)
	b, _, err := durable.ReadFile(path, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return &tlsaState{}, err
	}
	s := &tlsaState{was: b}
	if err := json.Unmarshal(b, s); err != nil {
		return &tlsaState{was: b}, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// saveTLSA writes the rollovers of a zone if they differ from what is on disk.
func (t *Tree) saveTLSA(apex domain.Name, s *tlsaState) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the rollovers of %s: %w", apex, err)
	}
	if b = append(b, '\n'); bytes.Equal(b, s.was) {
		return nil
	}
	path := t.tlsaPath(apex)
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(path, b, t.stateMode()); err != nil {
		return fmt.Errorf("save the rollovers of %s: %w", apex, err)
	}
	s.was = b
	return nil
}

// withdrawn reports whether one of some records is gone from the state since the
// step before.
func (r *rollover) withdrawn(published, hand []tlsa.Record) bool {
	if r.Before == nil {
		return false
	}
	tracks := func(s *tlsa.State, r tlsa.Record) bool {
		return slices.ContainsFunc(s.Records, func(t tlsa.Tracked) bool { return t.Record == r })
	}
	return slices.ContainsFunc(published, func(p tlsa.Record) bool {
		return tracks(&r.Before.State, p) && !tracks(&r.State, p) && !slices.Contains(hand, p)
	})
}

// find is the entry of an owner, nil if there is none.
func (s *tlsaState) find(owner domain.Name) *rollover {
	for i := range s.Owners {
		if s.Owners[i].Owner == owner {
			return &s.Owners[i]
		}
	}
	return nil
}
