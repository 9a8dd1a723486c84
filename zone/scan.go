package zone

import (
	"bytes"

	"zonebuild/internal/diag"
)

// token is one field of an entry: a range of the source and its place.
type token struct {
	text   []byte // without the quotes; escapes are still in it
	line   int
	column int
	quoted bool
	pair   bool // key="value": the quotes are in the text
}

// scanner cuts a master file (RFC 1035 §5.1) into entries. It never stops at a
// fault: it reports it, marks the entry as bad and goes on to its end, so that
// one run finds every fault and the next record is read as if nothing had been.
type scanner struct {
	name      string
	src       []byte
	at        int
	line      int
	lineStart int
	faults    *diag.List

	tokens []token // of the current entry
	blank  bool    // the entry began with white space: no owner
	bad    bool    // a fault was reported for the entry
	reread int     // parentheses behind which it read on
}

// maxReread bounds behind how many parentheses that are never closed the scanner
// reads on: each of them is found by reading to the end of the file.
const maxReread = 3

// Classes of bytes.
const (
	plain = iota
	space
	newline
	special // ( ) " ; and the backslash
	control
)

// classes has the class of each byte outside quotes. TAB and CR LF are fine; other
// control bytes never are: they hide text on a terminal and servers disagree about
// them.
var classes = [256]uint8{
	0: control, 1: control, 2: control, 3: control, 4: control, 5: control, 6: control, 7: control,
	8: control, '\t': space, '\n': newline, 11: control, 12: control, '\r': control, 14: control, 15: control,
	16: control, 17: control, 18: control, 19: control, 20: control, 21: control, 22: control, 23: control,
	24: control, 25: control, 26: control, 27: control, 28: control, 29: control, 30: control, 31: control,
	' ': space, '"': special, '(': special, ')': special, ';': special, '\\': special, 0x7f: control,
}

func class(c byte) uint8 { return classes[c] }

func (s *scanner) pos() diag.Pos { return s.posAt(s.at) }

func (s *scanner) posAt(at int) diag.Pos {
	return diag.Pos{File: s.name, Line: s.line, Column: at - s.lineStart + 1}
}

func (s *scanner) fault(pos diag.Pos, code, format string, args ...any) {
	s.bad = true
	s.faults.Errorf(pos, code, "", format, args...)
}

// next reads the next entry that has a token and reports whether there is one.
func (s *scanner) next() bool { return s.nextBefore(len(s.src)) }

// nextBefore is next for entries that begin before an offset.
func (s *scanner) nextBefore(end int) bool {
	for s.at < end {
		s.tokens, s.bad = s.tokens[:0], false
		c := s.src[s.at]
		s.blank = c == ' ' || c == '\t'
		s.entry()
		if len(s.tokens) > 0 || s.bad {
			return true
		}
	}
	return false
}

// entry reads tokens up to the end of the line, or of the line on which the
// last parenthesis is closed.
func (s *scanner) entry() {
	depth := 0
	var open struct {
		pos                 diag.Pos
		tokens, end, faults int
	}
	for s.at < len(s.src) {
		c := s.src[s.at]
		switch class(c) {
		case space:
			s.at++
		case newline:
			s.at++
			s.line++
			s.lineStart = s.at
			if depth == 0 {
				return
			}
			if open.end == 0 {
				open.tokens, open.end, open.faults = len(s.tokens), s.at, len(*s.faults)
			}
		case control:
			if c == '\r' && s.at+1 < len(s.src) && s.src[s.at+1] == '\n' {
				s.at++
				continue
			}
			s.fault(s.pos(), "control-byte", "control byte 0x%02x: write it as \\%03d inside quotes", c, c)
			s.at++
		case special:
			switch c {
			case ';':
				n := bytes.IndexByte(s.src[s.at:], '\n')
				if n < 0 {
					n = len(s.src) - s.at
				}
				s.at += n
			case '(':
				if depth > 0 {
					s.fault(s.pos(), "parenthesis", "parenthesis inside a parenthesis")
				} else {
					open.pos, open.end = s.pos(), 0
				}
				depth++
				s.at++
			case ')':
				if depth == 0 {
					s.fault(s.pos(), "parenthesis", "closing parenthesis without an opening one")
				} else {
					depth--
				}
				s.at++
			case '"':
				s.quoted()
			default:
				s.word()
			}
		default:
			s.word()
		}
	}
	if depth == 0 {
		return
	}
	again := open.end > 0 && s.reread < maxReread
	if again {
		*s.faults = (*s.faults)[:open.faults]
	}
	s.fault(open.pos, "parenthesis", "parenthesis is never closed")
	if again {
		// Read on behind the line of the parenthesis: what follows are most
		// likely whole records, whose faults the user wants to see too.
		s.reread++
		s.tokens = s.tokens[:open.tokens]
		s.at, s.line, s.lineStart = open.end, open.pos.Line+1, open.end
	}
}

func (s *scanner) word() {
	start, pos, pair := s.at, s.pos(), false
	for {
		for s.at < len(s.src) && classes[s.src[s.at]] == plain {
			s.at++
		}
		if s.at == len(s.src) {
			break
		}
		c := s.src[s.at]
		if c == '\\' {
			s.at++
			if s.at == len(s.src) || s.src[s.at] == '\n' || s.src[s.at] == '\r' {
				s.fault(pos, "escape", "backslash at the end of a line")
				break
			}
			s.at++
			continue
		}
		if c == '"' {
			if s.src[s.at-1] == '=' { // key="value" of SVCB and HTTPS (RFC 9460 §2.1)
				if !s.quotedPart() {
					break
				}
				pair = true
				continue
			}
			s.fault(s.pos(), "quote", "white space is missing before the quote")
		}
		break
	}
	s.tokens = append(s.tokens, token{s.src[start:s.at], pos.Line, pos.Column, false, pair})
}

// quotedPart passes over the quoted part of a word.
func (s *scanner) quotedPart() bool {
	pos := s.pos()
	for s.at++; s.at < len(s.src) && s.src[s.at] != '\n'; s.at++ {
		switch s.src[s.at] {
		case '"':
			s.at++
			return true
		case '\\':
			if s.at+1 < len(s.src) && s.src[s.at+1] != '\n' {
				s.at++
			}
		}
	}
	s.fault(pos, "quote", "quote is not closed on its line")
	return false
}

func (s *scanner) quoted() {
	pos := s.pos()
	s.at++
	start := s.at
	for s.at < len(s.src) {
		switch c := s.src[s.at]; {
		case c == '"':
			s.tokens = append(s.tokens, token{s.src[start:s.at], pos.Line, pos.Column, true, false})
			s.at++
			if s.at < len(s.src) && class(s.src[s.at]) == plain || s.at < len(s.src) && (s.src[s.at] == '"' || s.src[s.at] == '\\') {
				s.fault(s.pos(), "quote", "white space is missing after the quote")
			}
			return
		case c == '\n':
			s.fault(pos, "quote", "quote is not closed on its line")
			return
		case c == '\\' && s.at+1 < len(s.src) && s.src[s.at+1] != '\n':
			s.at += 2
			continue
		case c == '\r' && s.at+1 < len(s.src) && s.src[s.at+1] == '\n':
		case c != '\t' && (c < ' ' || c == 0x7f):
			s.fault(s.pos(), "control-byte", "control byte 0x%02x: write it as \\%03d", c, c)
		}
		s.at++
	}
	s.fault(pos, "quote", "quote is not closed on its line")
}
