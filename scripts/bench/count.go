package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
)

// countSignatures counts the RRSIG records of a master file, as any signer
// writes it: a record in one line or, in parentheses, in several, the owner
// repeated or left out. It tells a broken run from a fast one, no more.
func countSignatures(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<16)
	n, depth, begins := 0, 0, true
	for {
		line, err := in.ReadSlice('\n')
		if begins && depth == 0 && isSignature(line) {
			n++
		}
		depth = max(0, depth+parentheses(line))
		switch begins = err == nil; { // after a part of a long line comes the rest of it
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return n, err
		}
	}
}

// isSignature finds the type among the first words of a record: behind an
// owner, a TTL and a class, of which each may be absent, and not in the types
// of an NSEC record.
func isSignature(line []byte) bool {
	for range 4 {
		word, rest := cutWord(line)
		switch string(word) {
		case "RRSIG":
			return true
		case "NSEC", "NSEC3", "":
			return false
		}
		line = rest
	}
	return false
}

func cutWord(line []byte) (word, rest []byte) {
	line = bytes.TrimLeft(line, " \t\r\n")
	if i := bytes.IndexAny(line, " \t\r\n"); i >= 0 {
		return line[:i], line[i:]
	}
	return line, nil
}

// parentheses is how many are opened in a line more than closed, outside quotes
// and comments.
func parentheses(line []byte) (n int) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';':
			return n
		case c == '(':
			n++
		case c == ')':
			n--
		}
	}
	return n
}
