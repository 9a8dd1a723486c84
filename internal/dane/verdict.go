package dane

import "fmt"

// Verdict is the word for how a check came out.
type Verdict string

// Verdicts.
const (
	Validated Verdict = "validated"

	// Definite: asking again gives the same.
	Mismatch  Verdict = "mismatch"   // no TLSA record fits what the server shows
	Unusable  Verdict = "unusable"   // there are TLSA records, and clients can use none of them
	NoTLSA    Verdict = "no-tlsa"    // it is proved that there are no TLSA records
	NoAddress Verdict = "no-address" // it is proved that there is no host
	NoTLS     Verdict = "no-tls"     // the server does not offer to start TLS
	Insecure  Verdict = "insecure"   // it is proved that DNSSEC does not cover what DANE needs
	Bogus     Verdict = "bogus"      // the signatures in DNS are wrong
	Partial   Verdict = "partial"    // of a set: some addresses validated, others did not

	// Not told.
	DNSFailure  Verdict = "dns-failure"  // no answer, or none that could be judged
	Unreachable Verdict = "unreachable"  // nobody answers at the address
	NoHandshake Verdict = "no-handshake" // somebody answers, and TLS does not come about
	Unsupported Verdict = "unsupported"  // a key, certificate or transport that cannot be judged here
	Untested    Verdict = "untested"     // there is no way to the address from here
)

// Class says what a verdict means for who asks.
type Class uint8

// Classes.
const (
	Yes     Class = iota
	Unknown       // it could not be told
	No            // a definite no
)

// Class gives the class of a verdict. Untested is Unknown: it says nothing.
func (v Verdict) Class() Class {
	switch v {
	case Validated:
		return Yes
	case DNSFailure, Unreachable, NoHandshake, Unsupported, Untested:
		return Unknown
	}
	return No
}

// Together is the verdict on several: all must validate, but what is untested
// counts only where nothing else is. Of several that are worse, a definite no
// comes first. No verdict at all is Untested.
func Together(vs []Verdict) Verdict {
	worst, good := Untested, false
	for _, v := range vs {
		switch {
		case v == Validated:
			good = true
		case v == Untested:
		case worst == Untested || v.Class() > worst.Class():
			worst = v
		}
	}
	switch {
	case !good:
		return worst
	case worst == Untested:
		return Validated
	}
	return Partial
}

// sum sets the verdict of a report.
func (r *Report) sum() { r.Verdict = Together(r.verdicts()) }

func (r *Report) verdicts() (vs []Verdict) {
	for i := range r.Checks {
		for j := range r.Checks[i].Results {
			vs = append(vs, r.Checks[i].Results[j].Verdict)
		}
	}
	return vs
}

// Count counts the addresses, and those that validated.
func (r *Report) Count() (all, validated int) {
	for i := range r.Checks {
		for j := range r.Checks[i].Results {
			all++
			if r.Checks[i].Results[j].Verdict == Validated {
				validated++
			}
		}
	}
	return all, validated
}

// Line is what ldns-dane prints for an address, with the verdict's word behind
// what it does not print.
func (c *Check) Line(r *Result) string {
	who := c.Host.String()
	if r.Address.IsValid() {
		who = r.Address.String()
	}
	if r.Verdict == Validated {
		return who + " dane-validated successfully"
	}
	return fmt.Sprintf("%s did not dane-validate, because: %s [%s]", who, r.Reason, r.Verdict)
}
