package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
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
	Serial           string        // "unixtime", "datecounter", "counter" or SerialKeep
	SerialKeepSigned bool          // SerialKeep is meant for a signed zone too
	Validity         time.Duration // all durations are whole seconds
	Refresh          time.Duration
	InceptionOffset  time.Duration
	Spread           time.Duration
	DNSKEYTTL        time.Duration
	MaxTTL           time.Duration
	Denial           string // "nsec", "nsec3" or "nsec3-opt-out"
	ZoneMD           string // "", "sha384" or "sha512"
	CDS              string // "false", "true" or "delete"
	Sign             string
	DSFromChild      bool     // DS of signed zones below it, in the same tree, are inserted
	ShrinkLimit      int      // percent, 0 = off
	Accept           []string // codes of faults
	VerifySignatures string   // "auto", "all" or "sample"
}

// Signed reports whether this program signs the zone.
func (p *Policy) Signed() bool { return p.Sign == SignTrue }

// String names every setting that the published bytes depend on, in a form
// that stays: it is part of the input that a published zone was made of. What
// decides only whether a zone may be published is not in it.
func (p Policy) String() string {
	return fmt.Sprintf("algorithm=%d serial=%s validity=%d refresh=%d inception-offset=%d spread=%d dnskey-ttl=%d max-ttl=%d denial=%s zonemd=%s cds=%s sign=%s ds-from-child=%t",
		p.Algorithm, p.Serial, p.Validity/time.Second, p.Refresh/time.Second, p.InceptionOffset/time.Second, p.Spread/time.Second,
		p.DNSKEYTTL/time.Second, p.MaxTTL/time.Second, p.Denial, p.ZoneMD, p.CDS, p.Sign, p.DSFromChild)
}

func defaultPolicy() Policy {
	return Policy{
		Algorithm: dns.ECDSAP256SHA256, Serial: "unixtime",
		Validity: 14 * day, Refresh: 7 * day, InceptionOffset: time.Hour, Spread: 6 * day, DNSKEYTTL: time.Hour, MaxTTL: day,
		Denial: "nsec", CDS: "false", Sign: SignTrue, ShrinkLimit: 30, VerifySignatures: "auto",
	}
}

// policyKeys are the keys of a policy, which read into p.
func policyKeys(p *Policy) []key {
	return []key{
		{"algorithm", func(v value) error {
			a, err := ParseAlgorithm(v.text)
			if err == nil {
				p.Algorithm = a
			}
			return err
		}},
		{"serial", oneOf(&p.Serial, "unixtime", "datecounter", "counter", SerialKeep)},
		{"serial-keep-signed", boolean(&p.SerialKeepSigned)},
		{"validity", duration(&p.Validity, 10*time.Minute, 366*day)},
		{"refresh", duration(&p.Refresh, time.Minute, 365*day)},
		{"inception-offset", duration(&p.InceptionOffset, 0, day)},
		{"spread", duration(&p.Spread, 0, 366*day)},
		{"dnskey-ttl", duration(&p.DNSKEYTTL, time.Second, 7*day)},
		{"max-ttl", duration(&p.MaxTTL, time.Second, 30*day)},
		{"denial", oneOf(&p.Denial, "nsec", "nsec3", "nsec3-opt-out")},
		{"zonemd", orBool(&p.ZoneMD, "", "sha384", "sha384", "sha512")},
		{"cds", orBool(&p.CDS, "false", "true", "delete")},
		{"sign", orBool(&p.Sign, SignFalse, SignTrue, SignExternal)},
		{"ds-from-child", boolean(&p.DSFromChild)},
		{"shrink-limit", number(&p.ShrinkLimit, 0, 100)},
		{"accept", list(&p.Accept, checkCode)},
		{"verify-signatures", oneOf(&p.VerifySignatures, "auto", "all", "sample")},
	}
}

// Warnings are the codes that a policy may accept: those of the warnings that
// the compiler has for the records of a zone.
func Warnings() []string {
	return []string{
		"apex-repeated", "duplicate", "glue-sibling", "guest-dropped", "negative-ttl", "soa-expire", "spf-split",
		"target-cname", "target-missing", "ttl-above-max", "ttl-mixed", "wildcard-hidden",
	}
}

func checkCode(s string) error {
	if !slices.Contains(Warnings(), s) {
		return fmt.Errorf("%q is no warning that can be accepted: those are %s", s, strings.Join(Warnings(), ", "))
	}
	return nil
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

// spreadOf is the default of Spread: each signature is made anew after 6/7 of
// the time between two refreshes at the latest.
func spreadOf(validity, refresh time.Duration) time.Duration {
	return max(0, validity-refresh) / 7 * 6 / time.Second * time.Second
}

// misfit is what is wrong with a policy although each key by itself is right.
type misfit struct {
	keys    []string // those it is about
	message string
}

// misfits checks the keys of a policy against each other.
func (p *Policy) misfits() (out []misfit) {
	wrong := func(bad bool, keys, format string, args ...any) {
		if bad {
			out = append(out, misfit{strings.Fields(keys), fmt.Sprintf(format, args...)})
		}
	}
	f := FormatDuration
	switch {
	case p.Refresh >= p.Validity:
		wrong(true, "refresh validity", "refresh (%s) must be below validity (%s)", f(p.Refresh), f(p.Validity))
	default:
		wrong(p.Refresh*10 > p.Validity*9, "refresh validity", "refresh (%s) must be at most 90 %% of validity (%s)", f(p.Refresh), f(p.Validity))
		wrong(p.Spread > p.Validity-p.Refresh, "spread validity refresh", "spread (%s) must be at most validity (%s) minus refresh (%s)", f(p.Spread), f(p.Validity), f(p.Refresh))
	}
	wrong(p.MaxTTL >= p.Refresh, "max-ttl refresh", "max-ttl (%s) must be below refresh (%s)", f(p.MaxTTL), f(p.Refresh))
	wrong(p.DNSKEYTTL > p.MaxTTL, "dnskey-ttl max-ttl", "dnskey-ttl (%s) must be at most max-ttl (%s)", f(p.DNSKEYTTL), f(p.MaxTTL))
	wrong(p.Serial == SerialKeep && p.Sign == SignTrue && !p.SerialKeepSigned, "serial sign serial-keep-signed",
		`serial = "keep" stops a signed zone from being signed anew: set sign = false, or accept it with serial-keep-signed = true`)
	return out
}
