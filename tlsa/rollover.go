package tlsa

import (
	"maps"
	"slices"
	"time"
)

// runClocks finds which records every cache has by now.
func (s *stepper) runClocks() {
	for i := range s.st.Records {
		t := &s.st.Records[i]
		at := s.publishedAt(t)
		t.Ready = !at.IsZero() && !s.now.Before(s.readyAt(at))
		t.Promised = t.Promised || t.Ready && slices.Contains(s.staged, t.Record)
		t.Surprise = t.Surprise && !t.Ready
	}
}

// leave notes which records no file asks for, and which are live.
func (s *stepper) leave() {
	for i := range s.st.Records {
		t := &s.st.Records[i]
		switch {
		case s.isWanted(t.Record) && !s.isLeftover(t.Record):
			t.Left = time.Time{}
		case t.Left.IsZero() && !s.broken:
			t.Left = s.now
		}
		live := s.isLive(t.Record)
		if live && !t.Live && !t.Ready && !s.firstRRset() {
			t.Surprise = true
		}
		if !s.broken || live {
			t.Live, t.Surprise = live, t.Surprise && live
		}
		if live && t.FirstLive.IsZero() {
			t.Promised, t.FirstLive = true, s.now
		}
		if file := s.fileOf(t.Record); file != "" {
			t.File = file
		}
	}
}

// firstRRset reports whether nothing was published before the present records.
func (s *stepper) firstRRset() bool {
	return !slices.ContainsFunc(s.st.Records, func(t Tracked) bool { return t.Live || !t.Left.IsZero() })
}

// isLeftover reports whether a record is of a kind that the map does not ask
// for: the other digest, which goes as a whole.
func (s *stepper) isLeftover(r Record) bool { return !s.asked(r.Kind) }

// asked reports whether the map asks for a kind, or its records stand for those
// of the asked digest until that can be published.
func (s *stepper) asked(k Kind) bool {
	if slices.Contains(s.kinds, k) {
		return true
	}
	held, instead := false, false
	for _, r := range s.wanted() {
		held = held || r.Kind == k
		instead = instead || r.Usage == k.Usage && r.Selector == k.Selector && slices.Contains(s.kinds, r.Kind)
	}
	return held && !instead
}

// wanted are all records that the files ask for.
func (s *stepper) wanted() []Record {
	return slices.Concat(slices.Concat(s.live...), slices.Concat(s.nextSets...))
}

// drop takes records out of what is wanted.
func (s *stepper) drop(f func(Record) bool) {
	for i := range s.live {
		s.live[i] = slices.DeleteFunc(s.live[i], f)
	}
	for i := range s.nextSets {
		s.nextSets[i] = slices.DeleteFunc(s.nextSets[i], f)
	}
	s.next = slices.DeleteFunc(s.next, f)
	s.staged = slices.DeleteFunc(s.staged, f)
}

// withdraw ends records: those that the operator retires, and those that no
// address of the host needs any more.
func (s *stepper) withdraw() {
	if s.broken {
		if s.Marks.Retire {
			s.warnf(nil, "tlsa-retire", "nothing is retired while a file of this owner cannot be read")
		}
		return
	}
	gone := map[Record]bool{}
	for _, t := range s.st.Records {
		if !t.Left.IsZero() && (s.mayGo(t) || s.retired(t)) {
			gone[t.Record] = true
		}
	}
	// A digest goes as a whole (RFC 7671 §8.3), and none of it is added then.
	for _, t := range s.st.Records {
		if !gone[t.Record] && !s.asked(t.Record.Kind) {
			maps.DeleteFunc(gone, func(r Record, _ bool) bool { return r.Kind == t.Record.Kind })
		}
	}
	over := map[Kind]bool{}
	for r := range gone {
		over[r.Kind] = !s.asked(r.Kind)
	}
	// A client that goes by that digest may hold the old set for a TTL yet: a key
	// that was not everywhere in it is not ready.
	unripe := slices.ContainsFunc(s.wanted(), func(r Record) bool {
		t := s.st.tracked(r)
		return over[r.Kind] && (t == nil || !t.Ready)
	})
	s.st.Records = slices.DeleteFunc(s.st.Records, func(t Tracked) bool { return gone[t.Record] })
	for i := range s.st.Records {
		if t := &s.st.Records[i]; unripe {
			t.Restart, t.Ready = s.now, false
		}
	}
	s.drop(func(r Record) bool { return over[r.Kind] })
}

// mayGo reports whether every server shows the live records, and every address
// of the host was seen serving them, and nothing else, after the record was
// last asked for, and Grace ago.
func (s *stepper) mayGo(t Tracked) bool {
	if !s.Observed.HostsKnown || !s.superseded(t) || s.st.LiveSince.IsZero() || s.now.Before(latest(s.st.LiveSince, t.Left).Add(s.Params.Grace)) {
		return false
	}
	if slices.ContainsFunc(s.st.Hosts, func(v HostSight) bool { return v.At.Before(t.Left) && !s.outOfReach(v) }) {
		return false
	}
	for _, of := range s.live {
		for _, r := range of {
			if l := s.st.tracked(r); !slices.Contains(s.Hand, r) && (l == nil || l.Left.IsZero() && s.publishedAt(l).IsZero()) {
				return false
			}
		}
	}
	return true
}

// superseded reports whether nobody can be about to deploy the key of a record:
// the live key of its file is newer, or is the same key by another
// record, or the key was never more than announced. An older key that comes back
// to the file proves nothing: whoever writes there could take a key away from
// hosts that get it late.
func (s *stepper) superseded(t Tracked) bool {
	if !t.Promised {
		return true
	}
	same := false
	for _, v := range s.st.Hosts {
		for _, chain := range v.Chains {
			if slices.Contains(chain, t.Record) {
				if !intersect(chain, s.liveRecords()) {
					return false
				}
				same = true
			}
		}
	}
	newer, lines := 0, 0
	for i, of := range s.live {
		if t.File != "" && s.files[i] != t.File && slices.Contains(s.files, t.File) {
			continue
		}
		lines++
		if slices.ContainsFunc(of, func(r Record) bool { l := s.st.tracked(r); return l != nil && isNewer(l, &t) }) {
			newer++
		}
	}
	return same || lines > 0 && newer == lines
}

// isNewer reports whether a live record was announced, and went live, after
// another one; or, if that one was never seen live, was announced after it had
// left its file.
func isNewer(l, t *Tracked) bool {
	if t.FirstLive.IsZero() {
		return l.Added.After(t.Left)
	}
	return l.Added.After(t.Added) && l.FirstLive.After(t.FirstLive)
}

// fileOf is the CERTFILE of the line that asks for a record; "" if none does.
func (s *stepper) fileOf(r Record) string {
	for i, of := range s.live {
		if slices.Contains(of, r) {
			return s.files[i]
		}
	}
	return s.nextOf[r]
}

// retired reports whether the operator ends a record, and nobody is seen who
// needs it.
func (s *stepper) retired(t Tracked) bool {
	if !s.Marks.Retire {
		return false
	}
	for _, v := range s.st.Hosts {
		for _, chain := range v.Chains {
			needs := slices.Contains(chain, t.Record) && !slices.ContainsFunc(chain, s.isWanted)
			if needs && !s.Marks.Accept {
				s.warnf(nil, "tlsa-retire", "%s is not retired: %s serves its key (`tlsa accept` retires it all the same)", short(t.Record), v.Addr)
				return false
			}
		}
	}
	return true
}

// add takes up what the files ask for.
func (s *stepper) add() {
	established := len(s.st.Records) > 0
	for _, key := range s.live {
		s.track(key, true, established)
	}
	for _, key := range s.nextSets {
		s.track(key, false, established)
	}
}

// track takes up the records of one key: all of them or none.
func (s *stepper) track(key []Record, live, established bool) {
	missing := slices.DeleteFunc(slices.Clone(key), func(r Record) bool { return s.st.tracked(r) != nil })
	if len(missing) == 0 {
		return
	}
	if len(s.st.Records)+len(missing) > MaxRecords {
		s.warnf(nil, "tlsa-full", "%s is not published: %d records stand here already; `zonebuild tlsa retire %s %d` ends those that no file asks for",
			short(missing[0]), len(s.st.Records), s.Group.Host, s.Group.Port)
		return
	}
	for _, r := range missing {
		t := Tracked{Record: r, Added: s.now, File: s.fileOf(r), Live: live, Promised: live, Surprise: live && established}
		if live {
			t.FirstLive = s.now
		}
		s.st.Records = append(s.st.Records, t)
	}
}

// publishedAt is when the last server began to show a record; zero if one does
// not, or if that is not known.
func (s *stepper) publishedAt(t *Tracked) time.Time {
	if !t.In {
		return time.Time{}
	}
	at, asked := t.Restart, false
	for _, v := range s.st.Servers {
		if v.NoRoute {
			continue
		}
		since, seen := t.seenOn(v.Addr)
		switch {
		case seen:
			at, asked = latest(at, since), true
		case !v.At.IsZero() && !s.counts(t.Record, v.Records): // it answered without
			return time.Time{}
		case !t.ByHand.IsZero():
			at, asked = latest(at, t.ByHand), true
		case !s.Params.Clock:
			return time.Time{}
		}
	}
	switch {
	case s.Params.Clock && t.ByHand.IsZero():
		if t.Confirmed.IsZero() {
			return time.Time{}
		}
		if !s.now.Before(t.Arrives) {
			return latest(at, t.Arrives)
		}
		return time.Time{}
	case !t.ByHand.IsZero():
		return latest(at, t.ByHand)
	case !asked || len(s.st.Servers) == 0 || !s.listed(t):
		return time.Time{}
	}
	return at
}

// listed reports whether all servers were known at some time since a record was
// taken up. Without that, those that were asked may be a few of them.
func (s *stepper) listed(t *Tracked) bool {
	return !s.st.Listed.IsZero() && !s.st.Listed.Before(t.Added)
}

// readyAt is when every cache has a record that the servers show since t.
func (s *stepper) readyAt(t time.Time) time.Time {
	var at time.Time
	for _, v := range s.st.TTLs {
		from := v.Until
		if from.After(t) {
			from = t
		}
		at = latest(at, from.Add(s.wait(v.TTL)))
	}
	return latest(at, t)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// short names a record in a message.
func short(r Record) string {
	text := r.String()
	if len(text) > 24 {
		text = text[:22] + "…"
	}
	return text
}
