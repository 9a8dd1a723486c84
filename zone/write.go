package zone

import (
	"bufio"
	"io"

	"zonebuild/internal/rrset"
)

// WriteTo writes the zone as a master file: the SOA first, then canonical
// order, one record a line, each with owner, TTL and class.
func (z *Zone) WriteTo(w io.Writer) (int64, error) {
	b := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	var n int64
	write := func(i int) error {
		line = AppendRecordOf(line[:0], z.records, i)
		n += int64(len(line))
		_, err := b.Write(line)
		return err
	}
	if err := write(z.soa); err != nil {
		return n, err
	}
	for i := range z.records.Len() {
		if i == z.soa {
			continue
		}
		if err := write(i); err != nil {
			return n, err
		}
	}
	return n, b.Flush()
}

// AppendRecordOf is AppendRecord for record i of s.
func AppendRecordOf(dst []byte, s *rrset.Set, i int) []byte {
	ttl, _ := s.TTL(i)
	return AppendRecord(dst, s.Owner(i), ttl, s.Type(i), s.Rdata(i))
}
