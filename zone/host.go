package zone

import (
	"bytes"

	"zonebuild/internal/diag"
	"zonebuild/internal/rrset"
)

// Host is what the host fragments of a zone make together, and what it was made of.
// It is immutable.
type Host struct {
	records *rrset.Set // sorted; one TTL per RRset, no duplicates
	ttl     int64      // of records that have none
	silent  bool       // to put them into order found no fault
	of      []*rrset.Set
	files   []int // the number of the first file of each, in records
}

// compileHost puts the records of host fragments together, or those that changed
// into the place of those that they were. Errors: more than a set can hold.
func compileHost(was *Host, hosts []Fragment, ttl int64, faults *diag.List) (*Host, error) {
	if h := was.edited(hosts, ttl); h != nil {
		return h, nil
	}
	h := &Host{ttl: ttl}
	files := 0
	for _, f := range hosts {
		h.of, h.files = append(h.of, f.Records), append(h.files, files)
		files += f.Records.Files()
	}
	sorted, err := rrset.Sort(h.of...)
	if err != nil {
		return nil, err
	}
	before := len(*faults)
	h.records = normalize(sorted, ttl, faults)
	h.silent = len(*faults) == before
	return h, nil
}

// edited is what an earlier compilation has become by the edit of one fragment. nil
// when it is not just that, or when there is anything to say of it.
func (h *Host) edited(hosts []Fragment, ttl int64) *Host {
	if h == nil || !h.silent || h.ttl != ttl || len(h.of) != len(hosts) || h.records.Patches() >= rrset.MaxPatches {
		return nil
	}
	at := -1
	for i, f := range hosts {
		switch {
		case f.Records == h.of[i]:
		case f.edit != nil && f.edit.of == h.of[i] && at < 0:
			at = i
		default:
			return nil
		}
	}
	if at < 0 {
		return h
	}
	e := hosts[at].edit
	add, open := e.mid.Sorted(), false
	add = add.Edit(func(i int) (uint32, bool) {
		v, given := add.TTL(i)
		if !given {
			v, open = uint32(max(ttl, 0)), open || ttl < 0
		}
		return v, true
	})
	if open {
		return nil
	}
	records, places, err := h.records.Edited(rrset.Edit{
		File: uint16(h.files[at]), From: e.from, To: e.to, Lines: e.lines, Add: add, Own: true,
	})
	if err != nil {
		return nil
	}
	for _, i := range places {
		if !uniform(records, i) {
			return nil
		}
	}
	out := &Host{records: records, ttl: ttl, silent: true, of: append([]*rrset.Set(nil), h.of...), files: h.files}
	out.of[at] = hosts[at].Records
	return out
}

// uniform reports whether the RRset of record i has one TTL and no duplicates.
func uniform(s *rrset.Set, i int) bool {
	for i > 0 && s.Type(i-1) == s.Type(i) && s.SameOwner(i-1, i) {
		i--
	}
	ttl, _ := s.TTL(i)
	for k := i + 1; k < s.RRsetEnd(i); k++ {
		if other, _ := s.TTL(k); other != ttl || bytes.Equal(s.Rdata(k-1), s.Rdata(k)) {
			return false
		}
	}
	return true
}
