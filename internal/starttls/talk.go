package starttls

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of a dialogue in the clear. RFC 5321 has lines of 512 octets, RFC 9051
// recommends to take 8192.
const (
	maxLine     = 8192     // octets of a line, its end included
	maxLines    = 256      // of one answer
	maxDialogue = 64 << 10 // octets that a server may say in all
	maxQuoted   = 160      // octets of a server's words in an error
)

// talk is the dialogue in the clear: what the server says, and what is said to it.
type talk struct {
	in     *bufio.Reader
	heard  *bounded
	out    io.Writer
	domain string // for XMPP
	hello  string
	// step bounds the time of one question and its answer. What it returns is f's
	// error.
	step func(f func() error) error
}

// bounded reads until a number of octets has come; then it fails, for good.
type bounded struct {
	r    io.Reader
	left int
	any  bool // something has come
}

var errTooMuch = fmt.Errorf("the server says more than %d octets", maxDialogue)

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	b.any = b.any || n > 0
	return n, err
}

func newTalk(in io.Reader, out io.Writer, o Options) *talk {
	heard := &bounded{r: in, left: maxDialogue}
	return &talk{
		in:     bufio.NewReaderSize(heard, maxLine),
		heard:  heard,
		out:    out,
		domain: cmp.Or(o.Domain, o.ServerName),
		hello:  o.Hello,
		step:   func(f func() error) error { return f() },
	}
}

// run holds the dialogue of a protocol. Afterwards the next octet belongs to
// TLS, and the server has sent none: it waits for our ClientHello. What is there
// came in the clear, from anybody on the way, and would be taken for part of
// the session.
func (t *talk) run(p Protocol) error {
	if err := kinds[p].start(t); err != nil {
		return t.explain(err)
	}
	if n := t.in.Buffered(); n > 0 {
		early, _ := t.in.Peek(n)
		return fmt.Errorf("%w: the server sends %s in the clear after it agreed to start TLS", ErrProtocol, quote(string(early)))
	}
	return nil
}

// explain gives a bare error of reading or writing its kind.
func (t *talk) explain(err error) error {
	for _, known := range []error{ErrUnreachable, ErrUnavailable, ErrNoStartTLS, ErrProtocol} {
		if errors.Is(err, known) {
			return err
		}
	}
	if isClosed(err) {
		err = errClosed
	}
	if !t.heard.any {
		return fmt.Errorf("%w: no greeting: %w", ErrUnreachable, cause(err))
	}
	return fmt.Errorf("%w: %w", ErrProtocol, cause(err))
}

var errClosed = errors.New("the server closes the connection")

// ask says something and reads the answer with read, all in one step; "" says
// nothing, as before a greeting.
func (t *talk) ask(say string, read func() error) error {
	return t.step(func() error {
		if say != "" {
			if _, err := io.WriteString(t.out, say); err != nil {
				return err
			}
		}
		return read()
	})
}

// line reads one line, without its end. A bare LF ends one too.
func (t *talk) line() (string, error) {
	b, err := t.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("%w: a line of more than %d octets", ErrProtocol, maxLine)
	case err != nil:
		return "", err
	}
	return strings.TrimSuffix(string(b[:len(b)-1]), "\r"), nil
}

// lines gives each line of an answer to take, until that says it was the last.
func (t *talk) lines(take func(string) (last bool, err error)) error {
	for range maxLines {
		s, err := t.line()
		if err != nil {
			return err
		}
		if last, err := take(s); last || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: an answer of more than %d lines", ErrProtocol, maxLines)
}

// quote shows what a server said: on one line, printable, cut short.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// says is an error of a kind with the server's own words.
func says(kind error, s string) error {
	return fmt.Errorf("%w: the server says %s", kind, quote(s))
}

// word cuts the first word of a line off.
func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " ")
	first, rest, _ = strings.Cut(s, " ")
	return first, rest
}
