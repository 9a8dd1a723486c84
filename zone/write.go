package zone

import (
	"io"

	"zonebuild/internal/rrset"
)

// WriteTo writes the zone as a master file: the SOA first, then canonical
// order, one record a line, each with owner, TTL and class.
func (z *Zone) WriteTo(w io.Writer) (int64, error) {
	const room = 64 << 10
	b := make([]byte, 0, min(room+room/4, 128*z.records.Len()))
	var n int64
	flush := func() error {
		k, err := w.Write(b)
		n, b = n+int64(k), b[:0]
		return err
	}
	b = AppendRecordOf(b, z.records, z.soa)
	for i := range z.records.Len() {
		if i == z.soa {
			continue
		}
		if b = AppendRecordOf(b, z.records, i); len(b) >= room {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	return n, flush()
}

// AppendRecordOf is AppendRecord for record i of s.
func AppendRecordOf(dst []byte, s *rrset.Set, i int) []byte {
	ttl, _ := s.TTL(i)
	return AppendRecord(dst, s.Owner(i), ttl, s.Type(i), s.Rdata(i))
}
