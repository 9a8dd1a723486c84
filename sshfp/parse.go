package sshfp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// Keys is what a file says of its host.
type Keys struct {
	Published []Key    // to be published: whole, each once, in the order of the file
	Revoked   [][]byte // keys that must not be published
}

// Parse reads a file of a host's keys. Its lines are empty, comments (#), or
//
//	TYPE BASE64 [COMMENT]                            of this host
//	[@MARKER] HOSTS TYPE BASE64 [COMMENT]            as in known_hosts (sshd(8))
//
// An error in the list says that the file is refused: Published is then not all
// of the host's keys.
func Parse(file string, host domain.Name, data []byte) (Keys, diag.List) {
	r := &reader{file: file, host: host}
	if at, ok := privateKey(data); ok {
		r.errorf(place{at, 0}, "sshfp-private-key", "the host is left out: this is a private key: remove it, and make the host a new one")
		return r.keys, r.faults
	}
	if len(data) > maxFile {
		r.errorf(place{}, "sshfp-file", "the host is left out: too large: more than %d octets", maxFile)
		return r.keys, r.faults
	}
	if bytes.Count(data, []byte{'\n'}) > maxLines {
		r.errorf(place{}, "sshfp-many", "the host is left out: more than %d lines", maxLines)
		return r.keys, r.faults
	}
	for i, line := range strings.Split(string(data), "\n") {
		if !r.line(i+1, strings.TrimSuffix(line, "\r")) {
			break
		}
	}
	r.finish()
	return r.keys, r.faults
}

// private is how a private key begins: PEM, OpenSSH, ssh.com, PuTTY, protocol 1.
var private = regexp.MustCompile(`(?m)^[ \t]*(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----|PuTTY-User-Key-File-|SSH PRIVATE KEY FILE FORMAT)`)

// privateKey finds the line that begins a private key.
func privateKey(data []byte) (line int, found bool) {
	at := private.FindIndex(data)
	if at == nil {
		return 0, false
	}
	return bytes.Count(data[:at[0]], []byte{'\n'}) + 1, true
}

// reader is the reading of one file.
type reader struct {
	file             string
	host             domain.Name
	keys             Keys
	revokedAt        []place // of keys.Revoked
	passed           []field // types of keys of this host that cannot be published
	faults           diag.List
	errors, warnings int
}

// place is a line and a column, from 1; 0 is unknown.
type place struct{ line, column int }

// field is a piece of a line.
type field struct {
	text string
	at   place
}

func (r *reader) pos(at place) diag.Pos {
	return diag.Pos{File: r.file, Line: at.line, Column: at.column}
}

func (r *reader) errorf(at place, code, format string, args ...any) {
	if r.errors++; r.errors <= maxFaults {
		r.faults.Errorf(r.pos(at), code, r.host.String(), format, args...)
	}
}

// warnf tells at most maxFaults; what it gives for the others is nowhere.
func (r *reader) warnf(at place, code, format string, args ...any) *diag.Diagnostic {
	if r.warnings++; r.warnings > maxFaults {
		return &diag.Diagnostic{}
	}
	return r.faults.Warnf(r.pos(at), code, r.host.String(), format, args...)
}

// line reads one line; it reports whether to go on.
func (r *reader) line(number int, s string) bool {
	for i, c := range s {
		if c == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") || c < ' ' && c != '\t' || c == 0x7f {
			r.errorf(place{number, i + 1}, "sshfp-bytes", "the host is left out: byte 0x%02x: this is no text", s[i])
			return false
		}
	}
	f := fields(s, number)
	if len(f) == 0 || f[0].text[0] == '#' {
		return true
	}
	if strings.HasPrefix(f[0].text, "----") {
		r.errorf(f[0].at, "sshfp-line", "the host is left out: a key in PEM or RFC 4716 form: ssh-keygen -i gives the line that belongs here")
		return false
	}
	marker := field{}
	if f[0].text[0] == '@' {
		marker, f = f[0], f[1:]
	}
	hosts, f, ok := cut(f)
	switch {
	case !ok && slices.ContainsFunc(f, func(x field) bool { return strings.EqualFold(x.text, "SSHFP") }):
		r.errorf(f[0].at, "sshfp-line", "the host is left out: an SSHFP record: the key itself belongs here")
	case !ok:
		r.errorf(place{number, 1}, "sshfp-line", "the host is left out: no line of the form TYPE BASE64 [COMMENT] or HOSTS TYPE BASE64 [COMMENT]")
	case marker.text == "@revoked":
		r.revoke(f[0], f[1])
	case marker.text == "@cert-authority":
		r.warnf(marker.at, "sshfp-authority", "passed over: SSHFP cannot name a certificate authority")
	case marker.text != "":
		r.errorf(marker.at, "sshfp-marker", "the host is left out: unknown marker %s", quote(marker.text))
	case hosts.text == "" || r.isOurs(hosts):
		r.key(f[0], f[1])
	}
	return true
}

// fields cuts a line at white space; what follows the fifth field is not looked at.
func fields(s string, line int) (out []field) {
	for at := 0; at < len(s) && len(out) < 5; {
		n := strings.IndexAny(s[at:], " \t")
		if n < 0 {
			n = len(s) - at
		}
		if n > 0 {
			out = append(out, field{s[at : at+n], place{line, at + 1}})
		}
		at += n + 1
	}
	return out
}

// cut takes apart the fields of a line: HOSTS, if there are any, and what begins
// with type and key.
func cut(f []field) (hosts field, key []field, ok bool) {
	// The first four octets of a key are the length of a short text.
	isKey := func(i int) bool { return i < len(f) && strings.HasPrefix(f[i].text, "AAAA") }
	isType := func(i int) bool { return i+1 < len(f) && numberOf(f[i].text) != 0 }
	switch {
	case isKey(1):
		return field{}, f, true
	case isKey(2), isType(1):
		return f[0], f[1:], true
	case isType(0):
		return field{}, f, true
	}
	return field{}, f, false
}

func decode(key field) ([]byte, error) {
	blob, err := base64.StdEncoding.Strict().DecodeString(key.text)
	if err != nil {
		return nil, errors.New("the key is no base64, or cut short")
	}
	return blob, nil
}

// key takes a key of this host.
func (r *reader) key(typ, key field) {
	blob, err := decode(key)
	algorithm := uint8(0)
	if err == nil {
		algorithm, err = checkBlob(typ.text, blob)
	}
	switch {
	case errors.Is(err, errNoNumber):
		r.passed = append(r.passed, typ)
		r.warnf(typ.at, "sshfp-type", "passed over: %s", whyNot(typ.text))
		return
	case err != nil:
		r.errorf(key.at, "sshfp-key", "the host is left out: %s", err)
		return
	case slices.ContainsFunc(r.keys.Published, func(k Key) bool { return bytes.Equal(k.Blob, blob) }):
		return
	}
	r.keys.Published = append(r.keys.Published, Key{typ.text, algorithm, blob, typ.at.line, typ.at.column})
	r.count(typ.at)
}

// whyNot says why keys of a type are not published.
func whyNot(typ string) string {
	switch {
	case typ == "ssh-dss":
		return "DSA keys are accepted by nobody any more"
	case strings.Contains(typ, "-cert-v"):
		return fmt.Sprintf("%s is a certificate, SSHFP is for plain keys", quote(typ))
	}
	return fmt.Sprintf("keys of type %s have no algorithm number in SSHFP", quote(typ))
}

// revoke takes a key that must not be published, whatever hosts stand before it.
// One that cannot be read refuses the file: it could be any of the others.
func (r *reader) revoke(typ, key field) {
	blob, err := decode(key)
	if err == nil {
		w := wire{blob}
		var inner []byte
		if inner, err = w.text(); err == nil && string(inner) != typ.text {
			err = fmt.Errorf("the line says %s, the key is of type %s", quote(typ.text), quote(string(inner)))
		}
	}
	if err != nil {
		r.errorf(key.at, "sshfp-key", "the host is left out: %s", err)
		return
	}
	r.keys.Revoked = append(r.keys.Revoked, blob)
	r.revokedAt = append(r.revokedAt, typ.at)
	r.count(typ.at)
}

func (r *reader) count(at place) {
	if len(r.keys.Published)+len(r.keys.Revoked) == maxKeys+1 {
		r.errorf(at, "sshfp-many", "the host is left out: more than %d keys", maxKeys)
	}
}

// finish judges the keys together.
func (r *reader) finish() {
	r.withdraw()
	if r.errors == 0 {
		r.judge()
	}
	if more := max(0, r.errors-maxFaults) + max(0, r.warnings-maxFaults); more > 0 {
		r.faults.Warnf(r.pos(place{}), "sshfp-more", r.host.String(), "%d more faults of this file", more)
	}
}

// withdraw takes the revoked keys away.
func (r *reader) withdraw() {
	r.keys.Published = slices.DeleteFunc(r.keys.Published, func(k Key) bool {
		i := slices.IndexFunc(r.keys.Revoked, func(blob []byte) bool { return bytes.Equal(blob, k.Blob) })
		if i >= 0 {
			at := place{k.Line, k.Column}
			r.warnf(at, "sshfp-revoked", "not published: the key is revoked").At(r.pos(r.revokedAt[i]), "where it is revoked")
			r.passed = append(r.passed, field{k.Type, at})
		}
		return i >= 0
	})
}

// judge warns of sets at which OpenSSH takes offence. It asks a server for the
// type of key that it likes best, Ed25519 before all others, and wants each
// published fingerprint of that type to match (since 8.7); without one of the
// type it says that the host has changed.
func (r *reader) judge() {
	first := map[uint8]Key{}
	for _, k := range r.keys.Published {
		if other, twice := first[k.Algorithm]; twice {
			r.warnf(place{k.Line, k.Column}, "sshfp-two-keys", "two %s keys: OpenSSH from 8.7 on refuses the host with either", nameOf(k.Algorithm)).
				At(r.pos(place{other.Line, other.Column}), "the other")
			continue
		}
		first[k.Algorithm] = k
	}
	switch _, has := first[Ed25519]; {
	case len(first) == 0 && len(r.keys.Revoked) > 0:
		r.warnf(place{}, "sshfp-none", "nothing is published: no key is left that is not revoked")
		return
	case len(first) == 0:
		r.errorf(place{}, "sshfp-empty", "the host is left out: no key that can be published")
		return
	case !has:
		r.warnf(place{}, "sshfp-partial", "no Ed25519 key, which OpenSSH asks for first: if the host has one, it is refused as changed")
		return
	}
	for _, typ := range r.passed {
		// OpenSSH looks for the plain key of a certificate, and never asks for DSA.
		plain, _, _ := strings.Cut(typ.text, "-cert-v")
		if _, has := first[numberOf(plain)]; !has && plain != "ssh-dss" {
			r.warnf(typ.at, "sshfp-partial", "not all keys of the host are published: a client that gets its %s key refuses it as changed", quote(typ.text))
			return
		}
	}
}
