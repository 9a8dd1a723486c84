package zone

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"zonebuild/internal/diag"
)

// generate expands $GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE RDATA
// as BIND does: $ is the number, ${OFFSET,WIDTH,BASE} formats it, $$ and \$ are
// a dollar sign; rdata that is one quoted text is what stands between the
// quotes, with \" for a quote. Every record stands at the place of the
// directive. The owner before it is the owner after it.
func (r *reader) generate(directive token, args []token) {
	if !r.o.Generate {
		r.errorf(directive, "generate", "$GENERATE is not allowed here")
		return
	}
	if len(args) < 4 {
		r.errorf(directive, "generate", "$GENERATE needs a range, an owner, a type and rdata")
		return
	}
	start, stop, step, err := parseRange(string(args[0].text))
	if err != nil {
		r.errorf(args[0], "generate", "range %s: %s", quote(args[0].text), err)
		return
	}
	count := (stop-start)/step + 1
	if count > MaxGenerate {
		r.errorf(args[0], "generate", "range %s makes %d records, at most %d are allowed", quote(args[0].text), count, MaxGenerate)
		return
	}
	if r.generated += count; r.generated > MaxGenerateAll {
		r.errorf(directive, "generate", "more than %d generated records", MaxGenerateAll)
		return
	}
	record := slices.Clone(args[1:])
	if last := len(record) - 1; record[last].quoted && last == rdataAt(record) {
		record[last].text = bytes.ReplaceAll(record[last].text, []byte(`\"`), []byte(`"`))
		record[last].quoted = false
	}
	before := len(r.parser.faults)
	for i := 0; i < count; i++ {
		if r.generated1(directive, record, start+i*step); len(r.parser.faults) > before {
			return // the others have the same fault
		}
	}
}

// rdataAt is where the rdata begins in the fields of a record with an owner.
func rdataAt(tokens []token) int {
	for i, t := range tokens[1:] {
		if digit := len(t.text) > 0 && t.text[0] >= '0' && t.text[0] <= '9'; !digit && !isClass(t.text) {
			return i + 2
		}
	}
	return len(tokens)
}

// generated1 makes the record for one number.
func (r *reader) generated1(directive token, args []token, n int) {
	var line strings.Builder
	for i, t := range args {
		text, err := expand(string(t.text), n)
		if err != nil {
			r.errorf(t, "generate", "%s: %s", quote(t.text), err)
			return
		}
		if i > 0 {
			line.WriteByte(' ')
		}
		if t.quoted {
			text = `"` + text + `"`
		}
		line.WriteString(text)
	}
	var lexical diag.List
	s := scanner{name: r.scanner.name, src: []byte(line.String()), line: 1, faults: &lexical}
	if !s.next() || s.bad || len(lexical) > 0 {
		r.errorf(directive, "generate", "number %d gives no record", n)
		return
	}
	sub := &reader{parser: r.parser, number: r.number, origin: r.origin, fixed: &directive, scanner: scanner{name: r.scanner.name}}
	sub.record(s.tokens, false)
}

func parseRange(s string) (start, stop, step int, err error) {
	step = 1
	s, stepText, hasStep := strings.Cut(s, "/")
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, 0, errors.New("not START-STOP")
	}
	for _, f := range []struct {
		text string
		to   *int
		use  bool
	}{{from, &start, true}, {to, &stop, true}, {stepText, &step, hasStep}} {
		if !f.use {
			continue
		}
		v, err := strconv.ParseUint(f.text, 10, 31)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("%q is not a number", f.text)
		}
		*f.to = int(v)
	}
	if stop < start || step == 0 {
		return 0, 0, 0, errors.New("it is empty")
	}
	return start, stop, step, nil
}

// expand puts n into one field of a $GENERATE.
func expand(s string, n int) (string, error) {
	var b strings.Builder
	modifier := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			if s[i+1] != '$' {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i+1])
			i++
		case s[i] != '$':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '$':
			b.WriteByte('$')
			i++
		case i+1 < len(s) && s[i+1] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", errors.New("brace is not closed")
			}
			text, err := modified(s[i+2:i+end], n)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			i += end
			modifier = true
		case modifier:
			return "", errors.New("a bare $ behind a modifier, which BIND applies to it too: write ${0}")
		default:
			b.WriteString(strconv.Itoa(n))
		}
	}
	return b.String(), nil
}

// modified formats n by OFFSET[,WIDTH[,BASE]]; BASE is d, o, x, X, n or N (the
// last two: nibbles from the right, with dots, for ip6.arpa).
func modified(mod string, n int) (string, error) {
	parts := strings.Split(mod, ",")
	offset, err := strconv.ParseInt(parts[0], 10, 31)
	if err != nil || len(parts) > 3 {
		return "", fmt.Errorf("bad modifier %q", mod)
	}
	width := uint64(0)
	if len(parts) > 1 {
		if width, err = strconv.ParseUint(parts[1], 10, 8); err != nil || width > 63 {
			return "", fmt.Errorf("bad width %q", parts[1])
		}
	}
	base := "d"
	if len(parts) > 2 {
		base = parts[2]
	}
	v := n + int(offset)
	if v < 0 {
		return "", fmt.Errorf("offset makes %d", v)
	}
	switch base {
	case "d", "o", "x", "X":
		return fmt.Sprintf("%0*"+base, int(width), v), nil
	case "n", "N":
		digits := "0123456789abcdef"
		if base == "N" {
			digits = "0123456789ABCDEF"
		}
		// The width counts the dots too; an even one ends with a dot.
		var b strings.Builder
		for {
			b.WriteByte(digits[v&0xf])
			v >>= 4
			if v == 0 && b.Len() >= int(width) {
				return b.String(), nil
			}
			b.WriteByte('.')
			if v == 0 && b.Len() >= int(width) {
				return b.String(), nil
			}
		}
	}
	return "", fmt.Errorf("bad base %q", base)
}
