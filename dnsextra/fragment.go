package dnsextra

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"zonebuild/internal/domain"
)

// maxFile is the most that a file of a drop box may hold, in octets.
const maxFile = 4 << 10

// fault is what is wrong with a file, at a line of it.
type fault struct {
	line int // 0: the file as a whole
	err  error
}

// parse reads the file of a drop box. Its grammar is no master file's: complete
// lines, each empty, a comment, or
//
//	OWNER TTL IN TXT "VALUE" [; comment]
//
// with an absolute owner, the same on all lines, and the file's name. No escape,
// parenthesis, directive or default has a meaning. The TTL is read and ignored.
func parse(file string, data []byte, aliases []domain.Name) ([]Challenge, *fault) {
	if len(data) == 0 || data[len(data)-1] != '\n' {
		return nil, &fault{0, errors.New("not complete: the last line has no end")}
	}
	var out []Challenge
	var expires time.Time
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		number := i + 1
		line = strings.TrimSuffix(line, "\r")
		for _, c := range []byte(line) {
			if c != '\t' && (c < ' ' || c > '~') {
				return nil, &fault{number, fmt.Errorf("byte 0x%02x", c)}
			}
		}
		record, comment, _ := strings.Cut(line, ";")
		if at, ok := strings.CutPrefix(strings.TrimSpace(comment), "expires="); ok {
			t, err := time.Parse(time.RFC3339, at)
			if err != nil {
				return nil, &fault{number, errors.New("expires= is no time such as 2026-01-31T12:00:00Z")}
			}
			expires = t
		}
		if strings.TrimSpace(record) == "" {
			continue
		}
		c, err := parseRecord(record, aliases)
		if err != nil {
			return nil, &fault{number, err}
		}
		if len(out) > 0 && c.Owner != out[0].Owner {
			return nil, &fault{number, errors.New("a second owner in one file")}
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, &fault{0, errors.New("no record in it")}
	}
	for i := range out {
		out[i].Expires = expires
	}
	if !fits(file, out) {
		return nil, &fault{0, errors.New("its name does not fit what it holds")}
	}
	return out, nil
}

func parseRecord(s string, aliases []domain.Name) (c Challenge, err error) {
	if s[0] == ' ' || s[0] == '\t' {
		return c, errors.New("no owner: the line begins with white space")
	}
	f := strings.Fields(s)
	if len(f) != 5 {
		return c, errors.New(`not of the form OWNER TTL IN TXT "VALUE"`)
	}
	switch {
	case !strings.HasSuffix(f[0], "."):
		return c, fmt.Errorf("owner %q: no final dot", shorten(f[0]))
	case len(f[1]) > 10 || strings.Trim(f[1], "0123456789") != "":
		return c, fmt.Errorf("TTL %q: no number", shorten(f[1]))
	case !strings.EqualFold(f[2], "IN"):
		return c, fmt.Errorf("class %q: only IN", shorten(f[2]))
	case !strings.EqualFold(f[3], "TXT"):
		return c, fmt.Errorf("type %q: only TXT", shorten(f[3]))
	case len(f[4]) < 2 || f[4][0] != '"' || f[4][len(f[4])-1] != '"':
		return c, errors.New("the value does not stand in quotes")
	}
	if c.Owner, err = ParseOwner(f[0], aliases); err != nil {
		return c, err
	}
	c.Value = f[4][1 : len(f[4])-1]
	return c, CheckValue(c.Value)
}

// fits reports whether a file may hold these challenges: OWNER any number of
// values, OWNER+DIGEST that one.
func fits(file string, list []Challenge) bool {
	if file == stem(list[0].Owner) {
		return true
	}
	return len(list) == 1 && file == list[0].FileName()
}

// isFileName reports whether a name can be that of a fragment. Others, such as
// temporary files, are passed over.
func isFileName(s string) bool {
	name, digest, has := strings.Cut(s, "+")
	if has && (len(digest) != hashLen || strings.Trim(digest, "0123456789abcdef") != "") {
		return false
	}
	return name != "" && len(name) <= maxOwner && name[0] != '.' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}
