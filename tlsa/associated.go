package tlsa

// chain is what a server sent, leaf first, with the keys that could be read.
type chain []link

type link struct {
	cert, spki []byte
	data       map[Kind]string // selected and hashed so far; usage 0
}

// newChain reads what a server sent, as far as maxChain goes.
func newChain(ders [][]byte) chain {
	ders = ders[:min(len(ders), maxChain)]
	c := make(chain, len(ders))
	for i, der := range ders {
		c[i] = link{cert: der, data: map[Kind]string{}}
		if m, err := parseCertificate(der); err == nil {
			c[i].spki = m.SPKI
		}
	}
	return c
}

// depth is the place of the first certificate whose data a record holds, where
// its usage allows that: the leaf for usages 1 and 3, never the leaf for 0 and 2
// (RFC 7671 §5). -1 if there is none. Signatures, names and dates are not looked at.
func (c chain) depth(r Record) int {
	if r.Check() != nil || len(c) == 0 {
		return -1
	}
	lo, hi := 0, 1
	if r.anchors() {
		lo, hi = 1, len(c)
	}
	for i := lo; i < hi; i++ {
		if c[i].is(r) {
			return i
		}
	}
	return -1
}

// is compares a record with one certificate, octet by octet.
func (l link) is(r Record) bool {
	k := Kind{0, r.Selector, r.MatchingType}
	data, known := l.data[k]
	if !known {
		data, _ = associationData(k, l.cert, l.spki) // "" for a key that cannot be read: it is no record's data
		l.data[k] = data
	}
	return data != "" && data == r.Data
}

// Associated reports whether the data of a record is that of a certificate of a
// served chain (DER, leaf first) in a place that its usage allows.
func Associated(r Record, ders [][]byte) bool { return newChain(ders).depth(r) >= 0 }
