package dnssec

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
)

// KeyState is a .state file in BIND's format: lines "Name: value". It is the
// only truth of a key's life. Lines that nothing here knows are kept as they
// are when it is written again. The zero KeyState is empty, and a nil one can be
// read as if it were.
type KeyState struct{ lines []stateLine }

type stateLine struct {
	name, value string // name "": a comment or blank line, all of it in value
	number      int
}

// KeyPhase is how far something of a key (its DNSKEY, its signatures, its DS) has
// spread, as in BIND's key manager.
type KeyPhase string

// The life of each thing goes round: hidden, rumoured, omnipresent, unretentive,
// hidden.
const (
	Hidden      KeyPhase = "hidden"      // not published, and in no cache
	Rumoured    KeyPhase = "rumoured"    // published, but caches may not know it yet
	Omnipresent KeyPhase = "omnipresent" // published, and known to all
	Unretentive KeyPhase = "unretentive" // withdrawn, but caches may still hold it
)

// present reports whether the thing is in the zone.
func (p KeyPhase) present() bool { return p == Rumoured || p == Omnipresent }

// phases are the fields whose value is a KeyPhase.
func phases() []string {
	return []string{"DNSKEYState", "ZRRSIGState", "KRRSIGState", "DSState", "GoalState"}
}

// ParseKeyState reads a .state file; file is its name in the faults.
func ParseKeyState(file string, data []byte) (*KeyState, diag.List) {
	s := new(KeyState)
	var faults diag.List
	number := 0
	for text := range strings.Lines(string(data)) {
		number++
		text = strings.TrimRight(text, "\r\n")
		pos := diag.Pos{File: file, Line: number}
		if t := strings.TrimSpace(text); t == "" || t[0] == ';' {
			s.lines = append(s.lines, stateLine{"", text, number})
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch i := s.find(name); {
		case !ok || name == "":
			faults.Errorf(pos, "key-state", "", "the line must be NAME: VALUE")
		case i >= 0:
			faults.Errorf(pos, "key-state", "", "%s stands here twice", s.lines[i].name).
				At(diag.Pos{File: file, Line: s.lines[i].number}, "the first time")
		default:
			s.lines = append(s.lines, stateLine{name, value, number})
		}
	}
	for _, l := range s.lines {
		pos := diag.Pos{File: file, Line: l.number}
		for _, name := range phases() {
			if p := KeyPhase(strings.ToLower(l.value)); strings.EqualFold(l.name, name) && !p.present() && p != Hidden && p != Unretentive {
				faults.Errorf(pos, "key-state", "", "%s: %q is none of hidden, rumoured, omnipresent, unretentive", name, l.value)
			}
		}
		if role := strings.ToLower(l.value); (strings.EqualFold(l.name, "KSK") || strings.EqualFold(l.name, "ZSK")) && role != "yes" && role != "no" {
			faults.Errorf(pos, "key-state", "", "%s: %q is neither yes nor no", l.name, l.value)
		}
	}
	return s, faults
}

// find gives the index of a field, or -1. Names have no case, as in BIND.
func (s *KeyState) find(name string) int {
	if s == nil {
		return -1
	}
	for i, l := range s.lines {
		if l.name != "" && strings.EqualFold(l.name, name) {
			return i
		}
	}
	return -1
}

// Get is the value of a field; ok tells an empty one from none.
func (s *KeyState) Get(name string) (value string, ok bool) {
	if i := s.find(name); i >= 0 {
		return s.lines[i].value, true
	}
	return "", false
}

// Phase is the value of a field such as "DNSKEYState"; a missing one is Hidden.
func (s *KeyState) Phase(name string) KeyPhase {
	if v, ok := s.Get(name); ok {
		return KeyPhase(strings.ToLower(v))
	}
	return Hidden
}

// Time is the value of a field such as "DNSKEYChange", in UTC.
func (s *KeyState) Time(name string) (t time.Time, ok bool) {
	v, _ := s.Get(name)
	stamp, _, _ := strings.Cut(v, " ")
	t, err := time.Parse(keyStamp, stamp)
	return t, err == nil
}

// Set changes a field, or adds it at the end.
func (s *KeyState) Set(name, value string) {
	if i := s.find(name); i >= 0 {
		s.lines[i].value = value
		return
	}
	s.lines = append(s.lines, stateLine{name: name, value: value})
}

// SetTime sets a field to an instant.
func (s *KeyState) SetTime(name string, t time.Time) {
	s.Set(name, keyInstant(t))
}

// keyInstant is an instant in BIND's two notations, in UTC.
func keyInstant(t time.Time) string {
	return t.UTC().Format(keyStamp) + " (" + t.UTC().Format(time.ANSIC) + ")"
}

// Move sets the phase of a thing ("DNSKEY", "ZRRSIG", "KRRSIG", "DS") and the
// instant at which that came about.
func (s *KeyState) Move(thing string, to KeyPhase, now time.Time) {
	s.SetTime(thing+"Change", now)
	s.Set(thing+"State", string(to))
}

// Bytes is the file.
func (s *KeyState) Bytes() []byte {
	var b []byte
	for _, l := range s.lines {
		if l.name != "" {
			b = append(b, l.name...)
			b = append(b, ": "...)
		}
		b = append(b, l.value...)
		b = append(b, '\n')
	}
	return b
}

// WriteFile replaces the .state file of the key whose files have this path
// without extension (Key.Path).
func (s *KeyState) WriteFile(path string) error {
	if err := durable.WriteFile(path+".state", s.Bytes(), durable.Options{Mode: 0o600}); err != nil {
		return fmt.Errorf("write the state of a key: %w", err)
	}
	return nil
}

// keyStamp is how BIND writes an instant, in UTC.
const keyStamp = "20060102150405"

// apply takes the role and the life of a key from its state. started says
// whether the state tells the life at all: dnssec-keygen -k writes a file that
// tells the role only.
func (s *KeyState) apply(k *Key, file string) (started bool, faults diag.List) {
	if i := s.find("Algorithm"); i >= 0 && s.lines[i].value != strconv.Itoa(int(k.DNSKEY.Algorithm)) {
		faults.Errorf(diag.Pos{File: file, Line: s.lines[i].number}, "key-state", k.DNSKEY.Hdr.Name,
			"Algorithm: %s, but the DNSKEY has %d", s.lines[i].value, k.DNSKEY.Algorithm)
	}
	ksk, hasKSK := s.Get("KSK")
	zsk, hasZSK := s.Get("ZSK")
	if hasKSK || hasZSK { // else the flags have said it
		k.KSK, k.ZSK = strings.EqualFold(ksk, "yes"), strings.EqualFold(zsk, "yes")
	}
	if !k.KSK && !k.ZSK {
		faults.Errorf(diag.Pos{File: file}, "key-state", k.DNSKEY.Hdr.Name, "the key is neither KSK nor ZSK")
	}
	for _, name := range []string{"DNSKEYState", "ZRRSIGState", "KRRSIGState"} {
		started = started || s.find(name) >= 0
	}
	k.Published = s.Phase("DNSKEYState").present()
	k.SignsZone = k.ZSK && s.Phase("ZRRSIGState").present()
	k.SignsKeys = k.KSK && s.Phase("KRRSIGState").present()
	return started, faults
}
