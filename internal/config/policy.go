package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Values of Policy.Sign.
const (
	SignTrue     = "true"
	SignFalse    = "false"
	SignExternal = "external"
)

// SerialKeep is the value of Policy.Serial that leaves serials to the author.
const SerialKeep = "keep"

// Policy says how a zone is compiled and signed. docs/config.md has the
// meaning, unit, default and bounds of every key.
type Policy struct {
	Algorithm        uint8
	Serial           string
	SerialKeepSigned bool // serial = "keep" is meant for a signed zone too
	Validity         time.Duration
	Refresh          time.Duration
	InceptionOffset  time.Duration
	Spread           time.Duration
	DNSKEYTTL        time.Duration
	MaxTTL           time.Duration
	Denial           string
	ZoneMD           string // "", "sha384" or "sha512"
	CDS              string // "false", "true" or "delete"
	Sign             string
	ShrinkLimit      int // percent, 0 = off
	Accept           []string
	VerifySignatures string

	spreadSet bool
}

// Signed reports whether this program signs the zone.
func (p *Policy) Signed() bool { return p.Sign == SignTrue }

// String names every setting that the published bytes depend on.
func (p Policy) String() string {
	return fmt.Sprintf("algorithm=%d serial=%s validity=%d refresh=%d inception-offset=%d spread=%d dnskey-ttl=%d max-ttl=%d denial=%s zonemd=%s cds=%s sign=%s",
		p.Algorithm, p.Serial, p.Validity/time.Second, p.Refresh/time.Second, p.InceptionOffset/time.Second, p.Spread/time.Second,
		p.DNSKEYTTL/time.Second, p.MaxTTL/time.Second, p.Denial, p.ZoneMD, p.CDS, p.Sign)
}

const day = 24 * time.Hour

func defaultPolicy() Policy {
	return Policy{
		Algorithm: dns.ECDSAP256SHA256, Serial: "unixtime",
		Validity: 14 * day, Refresh: 7 * day, InceptionOffset: time.Hour, DNSKEYTTL: time.Hour, MaxTTL: day,
		Denial: "nsec", CDS: "false", Sign: SignTrue, ShrinkLimit: 30, VerifySignatures: "auto",
	}
}

// policySetter gives the function that reads a policy key; nil for no such key.
func policySetter(key string) func(*Policy, value) error {
	switch key {
	case "algorithm":
		return func(p *Policy, v value) (err error) {
			p.Algorithm, err = ParseAlgorithm(v.text)
			return err
		}
	case "serial":
		return oneOf(func(p *Policy) *string { return &p.Serial }, "unixtime", "datecounter", "counter", SerialKeep)
	case "serial-keep-signed":
		return func(p *Policy, v value) (err error) {
			p.SerialKeepSigned, err = v.boolean()
			return err
		}
	case "validity":
		return duration(func(p *Policy) *time.Duration { return &p.Validity }, 10*time.Minute, 366*day)
	case "refresh":
		return duration(func(p *Policy) *time.Duration { return &p.Refresh }, time.Minute, 365*day)
	case "inception-offset":
		return duration(func(p *Policy) *time.Duration { return &p.InceptionOffset }, 0, 7*day)
	case "spread":
		set := duration(func(p *Policy) *time.Duration { return &p.Spread }, 0, 366*day)
		return func(p *Policy, v value) error {
			p.spreadSet = true
			return set(p, v)
		}
	case "dnskey-ttl":
		return duration(func(p *Policy) *time.Duration { return &p.DNSKEYTTL }, time.Second, 7*day)
	case "max-ttl":
		return duration(func(p *Policy) *time.Duration { return &p.MaxTTL }, time.Second, 30*day)
	case "denial":
		return oneOf(func(p *Policy) *string { return &p.Denial }, "nsec", "nsec3", "nsec3-opt-out")
	case "zonemd":
		return orBool(func(p *Policy) *string { return &p.ZoneMD }, "", "sha384", "sha384", "sha512")
	case "cds":
		return orBool(func(p *Policy) *string { return &p.CDS }, "false", "true", "delete")
	case "sign":
		return orBool(func(p *Policy) *string { return &p.Sign }, SignFalse, SignTrue, SignExternal)
	case "shrink-limit":
		return func(p *Policy, v value) error {
			n, err := v.integer(0, 100)
			p.ShrinkLimit = int(n)
			return err
		}
	case "accept":
		return func(p *Policy, v value) (err error) {
			p.Accept, err = v.strings()
			return err
		}
	case "verify-signatures":
		return oneOf(func(p *Policy) *string { return &p.VerifySignatures }, "auto", "all", "sample")
	}
	return nil
}

func oneOf(field func(*Policy) *string, words ...string) func(*Policy, value) error {
	return func(p *Policy, v value) error {
		s, err := v.str()
		if err != nil || !slices.Contains(words, s) {
			return fmt.Errorf("must be one of %q", words)
		}
		*field(p) = s
		return nil
	}
}

// orBool reads true, false or one of the words.
func orBool(field func(*Policy) *string, no, yes string, words ...string) func(*Policy, value) error {
	return func(p *Policy, v value) error {
		if b, err := v.boolean(); err == nil {
			*field(p) = map[bool]string{true: yes, false: no}[b]
			return nil
		}
		if s, err := v.str(); err == nil && slices.Contains(words, s) {
			*field(p) = s
			return nil
		}
		return fmt.Errorf("must be true, false or one of %q", words)
	}
}

func duration(field func(*Policy) *time.Duration, min, max time.Duration) func(*Policy, value) error {
	return func(p *Policy, v value) error {
		d, err := durationOf(v)
		if err != nil {
			return err
		}
		if d < min || d > max {
			return fmt.Errorf("must be from %s to %s", FormatDuration(min), FormatDuration(max))
		}
		*field(p) = d
		return nil
	}
}

func durationOf(v value) (time.Duration, error) {
	if v.kind != unstable.String {
		return 0, errors.New(`must be a string with units, such as "14d" or "1h30m"`)
	}
	return ParseDuration(v.text)
}

// ParseDuration reads numbers with the units w, d, h, m and s: "14d", "1h30m".
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf(`%q is no duration such as "14d" or "1h30m"`, s)
	units := map[byte]time.Duration{'w': 7 * day, 'd': day, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	var total time.Duration
	for rest := s; rest != ""; {
		n := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if n <= 0 || n > 9 {
			return 0, bad
		}
		v, err := strconv.ParseInt(rest[:n], 10, 64)
		unit := units[rest[n]]
		if err != nil || unit == 0 {
			return 0, bad
		}
		if time.Duration(v) > (math.MaxInt64-total)/unit {
			return 0, fmt.Errorf("%q is too long", s)
		}
		total += time.Duration(v) * unit
		rest = rest[n+1:]
	}
	if s == "" {
		return 0, bad
	}
	return total, nil
}

// FormatDuration is the reverse of ParseDuration.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []struct {
		size time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d %= u.size
		}
	}
	return b.String()
}

// ParseAlgorithm reads a DNSSEC algorithm by number or mnemonic.
func ParseAlgorithm(s string) (uint8, error) {
	for _, a := range []uint8{dns.RSASHA256, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519} {
		if s == strconv.Itoa(int(a)) || strings.EqualFold(s, dns.AlgorithmToString[a]) {
			return a, nil
		}
	}
	return 0, errors.New("must be one of 8 (RSASHA256), 13 (ECDSAP256SHA256), 14 (ECDSAP384SHA384), 15 (ED25519)")
}

// finish settles what depends on other keys and returns what does not fit.
func (p *Policy) finish() []string {
	if !p.spreadSet {
		p.Spread = (p.Validity - p.Refresh) / 7 * 6 / time.Second * time.Second
	}
	var out []string
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	f := FormatDuration
	wrong(p.Refresh*10 > p.Validity*9, "refresh (%s) must be at most 90 %% of validity (%s)", f(p.Refresh), f(p.Validity))
	wrong(p.Spread > p.Validity-p.Refresh, "spread (%s) must be at most validity (%s) minus refresh (%s)", f(p.Spread), f(p.Validity), f(p.Refresh))
	wrong(p.MaxTTL >= p.Refresh, "max-ttl (%s) must be below refresh (%s)", f(p.MaxTTL), f(p.Refresh))
	wrong(p.DNSKEYTTL > p.MaxTTL, "dnskey-ttl (%s) must be at most max-ttl (%s)", f(p.DNSKEYTTL), f(p.MaxTTL))
	wrong(p.Serial == SerialKeep && p.Sign == SignTrue && !p.SerialKeepSigned,
		`serial = "keep" stops a signed zone from being signed anew: set sign = false, or accept it with serial-keep-signed = true`)
	return out
}

// unsupported lists the settings that this version cannot carry out.
func (p *Policy) unsupported() []string {
	var out []string
	if p.Sign == SignTrue && p.Denial != "nsec" {
		out = append(out, fmt.Sprintf("denial = %q is not implemented yet", p.Denial))
	}
	if p.ZoneMD != "" {
		out = append(out, "zonemd is not implemented yet")
	}
	if p.CDS != "false" {
		out = append(out, "cds is not implemented yet")
	}
	if p.Sign == SignExternal {
		out = append(out, `sign = "external" is not implemented yet`)
	}
	return out
}
