package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// State is what a zone's file in state/ holds: what was published and confirmed,
// alarms, refusals and approvals. None of it is needed to publish rightly: a
// lost state costs a question to the server and, at worst, an approval.
type State struct {
	Serial      uint32         `json:"serial"`            // last published
	Awaited     *uint32        `json:"awaited,omitempty"` // the signer of others chooses serials: the least that shows its work; 0 = any
	Published   time.Time      `json:"published,omitzero"`
	Confirmed   bool           `json:"confirmed"` // Serial was seen served, or there is no server to ask
	ConfirmedAt time.Time      `json:"confirmed_at,omitzero"`
	File        FileID         `json:"file"`                 // signed/ZONE as it was left
	SameInput   string         `json:"same_input,omitempty"` // another input that gives the same records
	Signed      bool           `json:"signed"`               // the last publish was signed
	NewZone     bool           `json:"new_zone,omitempty"`   // stated: there is no DS at the parent
	Oldest      time.Time      `json:"oldest,omitzero"`      // expiration of its first signature
	HostRecords int            `json:"host_records"`         // of soa/ and primary/
	Hosts       int            `json:"ssh_hosts,omitempty"`  // files of sshfp/
	Keys        []string       `json:"keys,omitempty"`       // ALGORITHM+TAG of the DNSKEYs it was published with
	Unsigned    FileID         `json:"unsigned"`             // unsigned/ZONE as it was left
	Boxed       []boxed        `json:"challenges,omitempty"` // of drop boxes, in what was published
	TLSA        *publishedTLSA `json:"tlsa,omitempty"`       // of the published file, for the owners of certs.map
	Rollovers   rolloverFile   `json:"rollovers,omitempty"`  // whether there is a state/tlsa/ZONE
	Good        FileID         `json:"good"`                 // last-good/ZONE as it was made of the confirmed file
	GoodOf      FileID         `json:"good_of"`              // and that file
	Retired     bool           `json:"retired,omitempty"`    // the name server has let go of it: what is left is to be removed
	Faults      string         `json:"faults,omitempty"`     // digest of the fault set last printed
	Accepted    string         `json:"accepted,omitempty"`   // Faults of the input that is published
	FailedInput string         `json:"failed_input,omitempty"`
	Refused     []Refusal      `json:"refused,omitempty"`
	Approved    []Refusal      `json:"approved,omitempty"`
	Alarms      []Alarm        `json:"alarms,omitempty"`
	Over        []Alarm        `json:"alarms_over,omitempty"` // of which alarm-command is still to be told

	was []byte // as it stands on disk
}

// rolloverFile says of state/tlsa/ZONE.json whether its absence is a loss; "" = that
// is not known, so it may be one.
type rolloverFile string

const (
	rolloversNone rolloverFile = "none" // no line ever asked for records of the zone
	rolloversKept rolloverFile = "kept" // the file was written
)

// FileID tells whether a file is still the one that was written.
type FileID struct {
	Size  int64 `json:"size"`
	MTime int64 `json:"mtime_ns"`
}

// Refusal is a guard that refused a candidate, or the approval of one.
type Refusal struct {
	Guard     string    `json:"guard"`
	Candidate string    `json:"candidate"` // digest of its records and keys
	Message   string    `json:"message"`
	Override  bool      `json:"override"` // it can be approved
	At        time.Time `json:"at"`
}

// Alarm is a condition that a person should know of.
type Alarm struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	Said    time.Time `json:"said,omitzero"` // when alarm-command was last told
}

// maxState bounds the state of a zone, in octets.
const maxState = 64 << 20

// loadState reads the state of a zone. A file that is missing gives a fresh
// state; a damaged one too, with its error.
func (t *Tree) loadState(apex domain.Name) (*State, error) {
	path := t.statePath(apex)
	b, _, err := durable.ReadFile(path, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return &State{}, nil
	}
	if err != nil {
		return &State{}, err
	}
	s := &State{was: b}
	if err := json.Unmarshal(b, s); err != nil {
		return &State{}, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// saveState writes the state if it differs from what is on disk.
func (t *Tree) saveState(apex domain.Name, s *State) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if slices.Equal(b, s.was) {
		return nil
	}
	if err := durable.WriteFile(t.statePath(apex), b, t.stateMode()); err != nil {
		return fmt.Errorf("save the state of %s: %w", apex, err)
	}
	s.was = b
	return nil
}

func (t *Tree) statePath(apex domain.Name) string {
	return filepath.Join(t.Config.Paths.State, apex.FileName()+".json")
}

// PublishedPath is where the product for a zone stands: signed/ZONE, or, when
// others sign it, unsigned/ZONE, which has a header then.
func (t *Tree) PublishedPath(apex domain.Name) string {
	signed := filepath.Join(t.Config.Paths.Signed, apex.FileName())
	if z := t.Config.Find(apex); z == nil || z.Policy.Sign != config.SignExternal {
		if _, err := os.Lstat(signed); !errors.Is(err, fs.ErrNotExist) {
			return signed
		}
	}
	if readHead(apex, t.unsignedPath(apex)).err == nil {
		return t.unsignedPath(apex)
	}
	return signed
}

func (t *Tree) lastGoodDir() string { return filepath.Join(t.Config.Paths.State, "last-good") }

func (t *Tree) lastGoodPath(apex domain.Name) string {
	return filepath.Join(t.lastGoodDir(), apex.FileName())
}

// raise sets an alarm; a standing one keeps its age.
func (s *State) raise(code, message string, now time.Time) {
	for i := range s.Alarms {
		if s.Alarms[i].Code == code {
			s.Alarms[i].Message = message
			return
		}
	}
	s.Alarms = append(s.Alarms, Alarm{Code: code, Message: message, Since: now.UTC()})
}

// keepAges gives alarms that were cleared and raised again in one pass the age
// that they had before.
func (s *State) keepAges(before []Alarm) {
	for i := range s.Alarms {
		for _, was := range before {
			if was.Code == s.Alarms[i].Code {
				s.Alarms[i].Since, s.Alarms[i].Said = was.Since, was.Said
			}
		}
	}
}

// standing reports whether an alarm stands with this very message.
func (s *State) standing(code, message string) bool {
	return slices.ContainsFunc(s.Alarms, func(a Alarm) bool { return a.Code == code && a.Message == message })
}

// clear ends alarms.
func (s *State) clear(codes ...string) {
	s.Alarms = slices.DeleteFunc(s.Alarms, func(a Alarm) bool { return slices.Contains(codes, a.Code) })
	if len(s.Alarms) == 0 {
		s.Alarms = nil
	}
}

// clockApproval is how long the approval of a clock holds: a right clock says
// nothing of what it will be next year.
const clockApproval = 24 * time.Hour

// approves reports whether a guard was approved for a candidate.
func (s *State) approves(guard, candidate string, now time.Time) bool {
	return slices.ContainsFunc(s.Approved, func(a Refusal) bool {
		return a.Guard == guard && a.Candidate == candidate && (guard != "clock-jump" || now.Sub(a.At).Abs() <= clockApproval)
	})
}
