package tlsa

import (
	"bytes"
	"crypto/x509"
	"errors"
	"time"
)

// daneTA looks for a trust anchor that the record names, and for a way from the
// leaf to it (RFC 7671 §5.2). The anchor is a served certificate, or stands in
// the record itself: 2 0 0 as a certificate, 2 1 0 as a bare key that signed a
// served one.
func (j *judge) daneTA(r Record) (Reason, int, string) {
	best, at, detail := Mismatch, -1, ""
	try := func(reason Reason, depth int, why string) bool {
		if rank(reason) < rank(best) {
			best, at, detail = reason, depth, why
		}
		return best == Matched
	}
	for i := 1; i < len(j.chain); i++ {
		// The leaf, sent once more, is no anchor.
		if !j.chain[i].is(r) || bytes.Equal(j.in.Chain[i], j.in.Chain[0]) {
			continue
		}
		if j.certs[i] == nil {
			try(Unsupported, i, "the anchor among the served certificates cannot be judged here")
			continue
		}
		if reason, why := j.leadsTo(j.certs[i]); try(reason, i, why) {
			return best, at, detail
		}
	}
	switch {
	case r.MatchingType != Full || at >= 0: // a served certificate has the key: it decides
	case r.Selector == Cert:
		j.anchorCert(r, try)
	default:
		j.anchorKey(r, try)
	}
	return best, at, detail
}

// anchorCert takes the certificate in a 2 0 0 record as the anchor.
func (j *judge) anchorCert(r Record, try func(Reason, int, string) bool) {
	anchor, err := parseBounded([]byte(r.Data))
	if err != nil || bytes.Equal(anchor.Raw, j.in.Chain[0]) {
		return
	}
	if j.parsed != nil {
		try(Unsupported, -1, "the server's certificate cannot be judged here: "+j.parsed.Error())
		return
	}
	chains, err := j.verify(anchor)
	switch reason, why := j.reason(err); {
	case err == nil:
		try(reason, len(chains[0])-1, why)
	case reason != NoChain: // without a way to it the anchor is not the server's
		try(reason, -1, why)
	}
}

// anchorKey takes the key in a 2 1 0 record as the anchor: it must have signed
// a served certificate to which the leaf leads, or the leaf.
func (j *judge) anchorKey(r Record, try func(Reason, int, string) bool) {
	key, err := x509.ParsePKIXPublicKey([]byte(r.Data))
	if err != nil || isLarge(key) {
		return
	}
	if j.parsed != nil {
		try(Unsupported, -1, "the server's certificate cannot be judged here: "+j.parsed.Error())
		return
	}
	anchor := &x509.Certificate{PublicKey: key}
	for i, c := range j.certs {
		if c == nil || anchor.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
			continue
		}
		if i > 0 {
			if bytes.Equal(c.Raw, j.certs[0].Raw) {
				continue
			}
			if reason, why := j.leadsTo(c); try(reason, i+1, why) {
				return
			}
			continue
		}
		if bytes.Equal(c.RawSubjectPublicKeyInfo, []byte(r.Data)) {
			continue // self-signed: the leaf is no anchor of its own
		}
		if try(j.direct(c)) {
			return
		}
	}
}

// direct judges a leaf that the anchor's key signed itself.
func (j *judge) direct(leaf *x509.Certificate) (Reason, int, string) {
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	// As its own root the leaf is checked for dates, purposes and extensions.
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool(), CurrentTime: j.in.Now})
	reason, why := j.reason(err)
	return reason, 1, why
}

// leadsTo judges the way from the leaf to an anchor, and the leaf's name.
func (j *judge) leadsTo(anchor *x509.Certificate) (Reason, string) {
	if j.parsed != nil {
		return Unsupported, "the server's certificate cannot be judged here: " + j.parsed.Error()
	}
	_, err := j.verify(anchor)
	return j.reason(err)
}

// verify builds ways to the anchor. Of a trust anchor name and key count, not
// the dates (RFC 5280 §6.1.1): crypto/x509 would look at them.
func (j *judge) verify(anchor *x509.Certificate) ([][]*x509.Certificate, error) {
	ageless := *anchor
	ageless.NotBefore, ageless.NotAfter = time.Time{}, time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	roots := x509.NewCertPool()
	roots.AddCert(&ageless)
	return j.certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: j.others(), CurrentTime: j.in.Now})
}

// others are the served certificates but the leaf.
func (j *judge) others() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range j.certs[1:] {
		if c != nil && !bytes.Equal(c.Raw, j.in.Chain[0]) {
			pool.AddCert(c)
		}
	}
	return pool
}

// reason turns the verdict of crypto/x509 into a word, and adds the name check.
func (j *judge) reason(err error) (Reason, string) {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return WrongTime, "a certificate of the chain is not valid on " + j.in.Now.UTC().Format(time.DateOnly)
	case err != nil:
		return NoChain, err.Error()
	case !j.named():
		return WrongName, j.unnamed()
	}
	return Matched, ""
}

// pkixEE wants the leaf to match and to lead to a public root (RFC 7671 §5.4).
func (j *judge) pkixEE(r Record) (Reason, int, string) {
	switch {
	case r.Selector == SPKI && j.leaf == nil:
		return Unsupported, -1, "the server's certificate cannot be read"
	case !j.chain[0].is(r):
		return Mismatch, -1, ""
	}
	_, reason, why := j.pkix(nil)
	return reason, 0, why
}

// pkixTA wants a way to a public root that holds the record's certificate, be
// it served or the root itself (RFC 7671 §5.3).
func (j *judge) pkixTA(r Record) (Reason, int, string) {
	var given *x509.Certificate
	if r.Kind == (Kind{PKIXTA, Cert, Full}) { // the record may stand in for a server that sent too little
		given, _ = parseBounded([]byte(r.Data))
	}
	chains, reason, why := j.pkix(given)
	for _, way := range chains {
		for depth, c := range way {
			if depth > 0 && (link{c.Raw, c.RawSubjectPublicKeyInfo, map[Kind]string{}}).is(r) {
				return reason, depth, why
			}
		}
	}
	if served := j.chain.depth(r); served > 0 && reason != Matched {
		return reason, served, why
	}
	return Mismatch, -1, ""
}

// pkix builds the ways to the public roots; given may be on them, too.
func (j *judge) pkix(given *x509.Certificate) ([][]*x509.Certificate, Reason, string) {
	switch {
	case j.in.Roots == nil:
		return nil, NoPKIX, "usages 0 and 1 need public roots, and none are given"
	case j.parsed != nil:
		return nil, Unsupported, "the server's certificate cannot be judged here: " + j.parsed.Error()
	}
	others := j.others()
	if given != nil {
		others.AddCert(given)
	}
	ways, err := j.certs[0].Verify(x509.VerifyOptions{Roots: j.in.Roots, Intermediates: others, CurrentTime: j.in.Now})
	reason, why := j.reason(err)
	if reason == NoChain {
		reason = NoPKIX
	}
	return ways, reason, why
}
