package lines

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"strings"
	"time"

	"zonebuild/internal/config"
	"zonebuild/tlsa"
)

// Gate watches whether a next key may be used: its clocks run per owner of TLSA
// records, for one key.
type Gate struct {
	Key    string           `json:"key,omitempty"` // Hash
	Owners map[string]Clock `json:"owners,omitempty"`
	Clock  time.Time        `json:"clock,omitzero"` // of the last look: time does not go back
}

// Clock is what was seen at one owner.
type Clock struct {
	Since   time.Time `json:"since,omitzero"`    // every server has had the next key's records from here on; zero: not so
	None    bool      `json:"none,omitempty"`    // rather, every server says that there are no records
	Bare    bool      `json:"bare,omitempty"`    // before the key's records there were none: no cache has another's
	Missing string    `json:"missing,omitempty"` // why Since does not run, or must not count now
	Notes   []string  `json:"notes,omitempty"`   // who could not be asked, and is not waited for
	TTL     uint32    `json:"ttl,omitempty"`     // seconds; the longest that a cache may still hold
	TTLAt   time.Time `json:"ttl_at,omitzero"`   // when it was last seen
	// Insecure is why DNSSEC proves nothing there: clients heed no TLSA records (RFC 7671 §3).
	Insecure string `json:"insecure,omitempty"`

	Seen   time.Time     `json:"seen,omitzero"`   // the last look that told something
	Pace   time.Duration `json:"pace,omitempty"`  // between it and the one before it
	Unseen time.Time     `json:"unseen,omitzero"` // nobody saw anything from here to Since, which began anew for that
}

// Watch is the gate after a look at DNS. Another key begins anew, but for the TTLs.
// A clock that has run stops when any server answers without the records; silence
// does not stop it, but keeps the gate shut until the server answers again. What went
// on between two looks nobody knows, so that time counts as far as Clock.blind says.
func (g Gate) Watch(key *Key, sights []Sight, now time.Time) Gate {
	out := Gate{Key: key.Hash(), Owners: map[string]Clock{}, Clock: now}
	for _, s := range sights {
		old := g.Owners[s.Owner]
		c := Clock{TTL: old.TTL, TTLAt: old.TTLAt, Notes: s.Notes, Insecure: s.Insecure}
		if now.Before(g.Clock) || g.Key != out.Key {
			old.Since, old.Unseen = time.Time{}, time.Time{} // another key, or a clock that was set back
		}
		if now.Before(old.Seen) {
			old.Seen, old.Pace = time.Time{}, 0
		}
		c.age(s, now)
		state, why := judge(s, key)
		c.Missing = why
		if state == unknown {
			c.Since, c.None, c.Bare, c.Seen, c.Pace, c.Unseen = old.Since, old.None, old.Bare, old.Seen, old.Pace, old.Unseen
			out.Owners[s.Owner] = c
			continue
		}
		old.blind(now, time.Duration(c.TTL)*time.Second)
		c.Seen, c.Pace = now, old.Pace
		if state != absent {
			c.None = state == none
			c.Bare = state == present && g.Key == out.Key && (old.None || old.Bare)
			if c.Since, c.Unseen = old.Since, old.Unseen; c.Since.IsZero() || old.None != c.None {
				c.Since = now
			}
		}
		out.Owners[s.Owner] = c
	}
	return out
}

// shortGap is the time between two looks that is never too long: a run every five
// minutes is as often as anybody wants it.
const shortGap = 5 * time.Minute

// blind takes from a clock the time before a look in which nobody saw that it was right
// to run: acmehook was not run, no server was heard, or a clock is ahead. The records may
// have been away, and may have come back just now, so that caches hold what was before
// for another TTL. A gap up to the TTL counts whole. A longer one makes the clock begin
// anew; but where looks are always so rare it counts as one TTL, for otherwise no key
// would ever change there.
func (c *Clock) blind(now time.Time, ttl time.Duration) {
	if c.Seen.IsZero() {
		return
	}
	gap, usual, most := now.Sub(c.Seen), c.Pace+c.Pace/2, max(ttl, shortGap)
	if gap >= shortGap { // a run by hand says nothing of how often there is one
		c.Pace = gap
	}
	switch {
	case gap <= most:
	case gap <= usual && !c.Since.IsZero():
		c.Since = c.Since.Add(gap - most)
	case gap > usual:
		if !c.Since.IsZero() {
			c.Unseen = c.Seen
		}
		c.Since, c.None, c.Bare = time.Time{}, false, false
	}
}

// age keeps the longest TTL that a cache may still hold: a lower one counts only
// when the longer has run out.
func (c *Clock) age(s Sight, now time.Time) {
	seen, any := uint32(0), false
	for _, v := range s.Servers {
		if v.Silent == "" {
			seen, any = max(seen, v.TTL), true
		}
	}
	seen = max(seen, s.ProvedTTL)
	switch {
	case !any:
	case seen >= c.TTL, now.Sub(c.TTLAt) > time.Duration(c.TTL)*time.Second:
		c.TTL, c.TTLAt = seen, now
	}
}

// verdict of a look at one owner.
type verdict int

const (
	unknown verdict = iota
	absent          // a server lacks the key's records
	none            // all servers say that there are no records
	present
)

func judge(s Sight, key *Key) (verdict, string) {
	if s.Trouble != "" {
		return unknown, s.Trouble
	}
	var silent, lacking []string
	with, without := 0, 0
	for _, v := range s.Servers {
		switch {
		case v.Silent != "":
			silent = append(silent, v.Server+" "+v.Silent)
		case len(v.Records) == 0:
			without++
			lacking = append(lacking, v.Server+" has no TLSA records")
		case !covers(v.Records, key.SPKI):
			with++
			lacking = append(lacking, v.Server+" lacks those of the next key")
		default:
			with++
		}
	}
	switch {
	case len(s.Servers) == 0:
		return unknown, "no server was asked"
	case len(lacking) > 0 && with > 0:
		return absent, strings.Join(lacking, "; ")
	case s.Checked && with > 0 && !covers(s.Proved, key.SPKI):
		return absent, "the records that DNSSEC proves lack those of the next key"
	case s.Checked && with == 0 && len(s.Proved) > 0:
		return absent, "DNSSEC proves records that no server has"
	case len(silent) > 0:
		return unknown, strings.Join(silent, "; ")
	case s.Insecure != "" && with > 0: // not signed yet, or no more
		return unknown, unsigned(s.Service, s.Insecure)
	case without > 0:
		return none, ""
	}
	return present, ""
}

// unsigned says what can be done about a zone without DNSSEC.
func unsigned(service, why string) string {
	return fmt.Sprintf("DNSSEC: insecure: %s: clients heed no TLSA records there; if it is to stay so: tlsa = false in [service.%s]", why, service)
}

// covers reports whether the records allow a key: a DANE-EE(3) SPKI(1) record is
// its, and so is one of every matching type beside it (RFC 7671 §8), as a client
// may heed that one alone (§9).
func covers(records []tlsa.Record, spki []byte) bool {
	found := map[tlsa.Kind]bool{}
	for _, r := range records {
		if r.Usage == 3 && r.Selector == 1 {
			found[r.Kind] = found[r.Kind] || matches(r, spki)
		}
	}
	for _, ok := range found {
		if !ok {
			return false
		}
	}
	return len(found) > 0
}

func matches(r tlsa.Record, spki []byte) bool {
	switch r.MatchingType {
	case 0:
		return r.Data == string(spki)
	case 1:
		sum := sha256.Sum256(spki)
		return r.Data == string(sum[:])
	case 2:
		sum := sha512.Sum512(spki)
		return r.Data == string(sum[:])
	}
	return false
}

// noServices says why the key of a line stays.
const noServices = "the key does not change: no service of the line says where TLSA records would be (services; dane = false if nobody has any)"

// allows says when the next key of a line may be used; the zero time and why not, if
// that cannot be said; the zero time alone: at once. A key changes behind its TLSA
// records, so a line whose services nobody named keeps its key; `dane = false`, or a
// word at each service, says that nobody pins it.
func (g Gate) allows(l config.Line, key *Key, services []config.Service, p Params, first bool) (at time.Time, why string) {
	switch {
	case l.NoDANE:
		return time.Time{}, ""
	case len(services) == 0 && !first:
		return time.Time{}, noServices
	}
	return g.open(key, services, p, first)
}

// open says when the key may be used, by what was seen. A first key has no predecessor
// in any cache: where there are no records at all, it need not wait. Any other does:
// records that are away may come back, with the live key alone.
func (g Gate) open(key *Key, services []config.Service, p Params, first bool) (at time.Time, why string) {
	for _, s := range services {
		if !s.TLSA {
			continue
		}
		owner := ownerOf(s)
		c, ok := g.Owners[owner]
		switch {
		case g.Key != key.Hash() || !ok:
			return time.Time{}, fmt.Sprintf("%s: not asked yet", owner)
		case c.Missing != "":
			return time.Time{}, fmt.Sprintf("%s: %s", owner, c.Missing)
		case c.Since.IsZero():
			return time.Time{}, fmt.Sprintf("%s: not seen yet", owner)
		case (c.None || c.Bare) && first:
			continue
		case c.None && c.Insecure != "":
			return time.Time{}, fmt.Sprintf("%s: %s", owner, unsigned(s.Name, c.Insecure))
		case c.None:
			return time.Time{}, fmt.Sprintf("%s: there are no TLSA records; if there shall be none: tlsa = false in [service.%s]", owner, s.Name)
		}
		if t := c.Since.Add(time.Duration(p.TTLs)*time.Duration(c.TTL)*time.Second + p.Margin); t.After(at) {
			at, why = t, fmt.Sprintf("%s: caches may hold what was before", owner)
			if !c.Unseen.IsZero() {
				why += fmt.Sprintf(" %s, as nobody looked since %s", c.Since.UTC().Format(time.RFC3339), c.Unseen.UTC().Format(time.RFC3339))
			}
		}
	}
	return at, why
}

// ownerOf is where the TLSA records of a service are; "" if its name is too long.
func ownerOf(s config.Service) string {
	n, err := tlsa.Service{Host: s.Host, Port: uint16(s.Port), Proto: s.Proto}.Owner()
	if err != nil {
		return ""
	}
	return n.String()
}
