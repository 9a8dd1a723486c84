package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"zonebuild/internal/diag"
)

// key is a key that a table may hold, and what reads its value.
type key struct {
	name string
	set  func(value) error
}

func has(keys []key, name string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return k.name == name })
}

func (v value) str() (string, error) {
	if v.kind != unstable.String {
		return "", errors.New("must be a string")
	}
	return v.text, nil
}

func (v value) boolean() (bool, error) {
	if v.kind != unstable.Bool {
		return false, errors.New("must be true or false")
	}
	return v.text == "true", nil
}

func (v value) integer(min, max int64) (int64, error) {
	n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64)
	if v.kind != unstable.Integer || err != nil || n < min || n > max {
		return 0, fmt.Errorf("must be a whole number from %d to %d", min, max)
	}
	return n, nil
}

// placed is an error about a part of a value.
type placed struct {
	error
	at diag.Pos
}

// each reads a list of strings and gives each to use.
func (v value) each(use func(string) error) error {
	if v.kind != unstable.Array {
		return errors.New("must be a list of strings")
	}
	var faults []error
	for _, e := range v.list {
		s, err := e.str()
		if err != nil {
			err = errors.New("must be a list of strings")
		} else {
			err = use(s)
		}
		if err != nil {
			faults = append(faults, placed{err, e.at})
		}
	}
	return errors.Join(faults...)
}

// duration reads a time from min to max.
func (v value) duration(min, max time.Duration) (time.Duration, error) {
	if v.kind != unstable.String {
		return 0, errors.New(`must be a string with units, such as "14d" or "1h30m"`)
	}
	d, err := ParseDuration(v.text)
	if err == nil && (d < min || d > max) {
		err = fmt.Errorf("must be from %s to %s", FormatDuration(min), FormatDuration(max))
	}
	return d, err
}

func text(to *string) func(value) error {
	return func(v value) error {
		s, err := v.str()
		if err == nil && s == "" {
			err = errors.New("must not be empty")
		}
		if err == nil {
			*to = s
		}
		return err
	}
}

// localPath reads a path that is absolute or inside the tree.
func localPath(to *string) func(value) error {
	return func(v value) error {
		s, err := v.str()
		if err == nil {
			err = checkPath(s)
		}
		if err == nil {
			*to = s
		}
		return err
	}
}

// fileName reads the name of a file in a directory that is given elsewhere.
func fileName(to *string) func(value) error {
	return func(v value) error {
		name, err := v.str()
		if err == nil && (checkPath(name) != nil || filepath.IsAbs(name)) {
			err = errors.New("must be the name of a file in that directory")
		}
		if err == nil {
			*to = name
		}
		return err
	}
}

func checkPath(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty")
	case strings.ContainsRune(s, 0):
		return errors.New("must not hold a NUL")
	case !filepath.IsAbs(s) && !filepath.IsLocal(s):
		return fmt.Errorf("%q leads out of the tree: write the whole path", s)
	}
	return nil
}

func boolean(to *bool) func(value) error {
	return func(v value) error {
		b, err := v.boolean()
		if err == nil {
			*to = b
		}
		return err
	}
}

func number(to *int, min, max int64) func(value) error {
	return func(v value) error {
		n, err := v.integer(min, max)
		if err == nil {
			*to = int(n)
		}
		return err
	}
}

func duration(to *time.Duration, min, max time.Duration) func(value) error {
	return func(v value) error {
		d, err := v.duration(min, max)
		if err == nil {
			*to = d
		}
		return err
	}
}

func oneOf(to *string, words ...string) func(value) error {
	return func(v value) error {
		s, err := v.str()
		if err != nil || !slices.Contains(words, s) {
			return errors.New("must be one of " + quoted(words))
		}
		*to = s
		return nil
	}
}

// orBool reads one of the words, false as no, or true as yes.
func orBool(to *string, no, yes string, words ...string) func(value) error {
	return func(v value) error {
		if b, err := v.boolean(); err == nil {
			*to = no
			if b {
				*to = yes
			}
			return nil
		}
		if s, err := v.str(); err == nil && slices.Contains(words, s) {
			*to = s
			return nil
		}
		return errors.New("must be true, false or one of " + quoted(words))
	}
}

// list reads a list of strings, each of which check accepts.
func list(to *[]string, check func(string) error) func(value) error {
	return func(v value) error {
		out := []string{}
		err := v.each(func(s string) error {
			out = append(out, s)
			return check(s)
		})
		if err == nil {
			*to = out
		}
		return err
	}
}

// argv reads a command as a list of arguments: never a shell string.
func argv(to *[]string) func(value) error {
	return func(v value) error {
		var out []string
		err := v.each(func(s string) error {
			out = append(out, s)
			if strings.ContainsRune(s, 0) {
				return errors.New("must not hold a NUL")
			}
			return nil
		})
		if v.kind != unstable.Array || len(v.list) == 0 || err == nil && out[0] == "" {
			return errors.New(`must be a list: ["program", "argument", ...]`)
		}
		if err == nil {
			*to = out
		}
		return err
	}
}

// addresses reads a list of server addresses.
func addresses(to *[]netip.AddrPort) func(value) error { return addressesOr(to, 53) }

// addressesOr is addresses for those that have another port where they say none.
func addressesOr(to *[]netip.AddrPort, port uint16) func(value) error {
	return func(v value) error {
		var out []netip.AddrPort
		err := v.each(func(s string) error {
			a, err := parseAddress(s, port)
			if err == nil && slices.Contains(out, a) {
				err = fmt.Errorf("%s stands twice", a)
			}
			out = append(out, a)
			return err
		})
		if err == nil {
			*to = out
		}
		return err
	}
}

// ParseAddress reads IP, IP@PORT (as name servers write it), IPv4:PORT or
// [IPv6]:PORT. The port is 53 by default.
func ParseAddress(s string) (netip.AddrPort, error) { return parseAddress(s, 53) }

func parseAddress(s string, port uint16) (netip.AddrPort, error) {
	bad := fmt.Errorf("%q is no address such as 192.0.2.1, 192.0.2.1@5353 or [2001:db8::1]:53", s)
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, port), nil
	}
	if host, port, ok := strings.Cut(s, "@"); ok {
		ip, err := netip.ParseAddr(host)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if err != nil || err2 != nil || n == 0 {
			return netip.AddrPort{}, bad
		}
		return netip.AddrPortFrom(ip, uint16(n)), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return netip.AddrPort{}, bad
	}
	return a, nil
}
