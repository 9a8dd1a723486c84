package zone

import (
	"errors"
	"io/fs"
	"strings"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// directive obeys a line that begins with a dollar sign (RFC 1035 §5.1, RFC 2308 §4).
func (r *reader) directive(tokens []token) {
	if r.shard {
		r.spoiled = true
		return
	}
	name := strings.ToUpper(string(tokens[0].text))
	args := tokens[1:]
	switch name {
	case "$ORIGIN":
		if len(args) != 1 || args[0].quoted || args[0].pair {
			r.errorf(tokens[0], "directive", "$ORIGIN needs one name")
			return
		}
		wire, err := domain.AppendText(nil, args[0].text, r.origin)
		if err != nil {
			r.errorf(args[0], "name", "name %s: %s", quote(args[0].text), err)
			return
		}
		r.origin = domain.FromCanonical(wire)
	case "$TTL":
		if len(args) != 1 || args[0].quoted {
			r.errorf(tokens[0], "directive", "$TTL needs one time")
			return
		}
		ttl, err := parseTTL(args[0].text, rrset.MaxTTL)
		if err != nil {
			r.errorf(args[0], "ttl-range", "%s", err)
			return
		}
		r.ttl = int64(ttl)
	case "$INCLUDE":
		r.include(tokens[0], args)
	case "$GENERATE":
		r.generate(tokens[0], args)
	default:
		r.errorf(tokens[0], "directive", "unknown directive %s", quote(tokens[0].text))
	}
}

func (r *reader) include(directive token, args []token) {
	switch {
	case r.o.Include == nil:
		r.errorf(directive, "include", "$INCLUDE is not allowed here")
		return
	case len(args) == 0 || len(args) > 2:
		r.errorf(directive, "include", "$INCLUDE needs a file and, at most, an origin")
		return
	case r.depth == MaxInclude:
		r.errorf(directive, "include", "$INCLUDE is nested more than %d deep", MaxInclude)
		return
	case len(r.sources) > MaxIncludes:
		if !r.flooded { // once: the files read so far may hold as many more
			r.errorf(directive, "include", "the fragment includes more than %d files", MaxIncludes)
		}
		r.flooded = true
		return
	}
	origin := r.origin
	if len(args) == 2 {
		wire, err := domain.AppendText(nil, args[1].text, r.origin)
		if err != nil {
			r.errorf(args[1], "name", "name %s: %s", quote(args[1].text), err)
			return
		}
		origin = domain.FromCanonical(wire)
	}
	name := string(args[0].text)
	if !fs.ValidPath(name) || name == "." {
		r.errorf(args[0], "include", "%s is not a path inside the tree (no leading slash, no ..)", quote(args[0].text))
		return
	}
	src, err := ReadFile(r.o.Include, name)
	if err != nil {
		r.errorf(args[0], "include", "include %s: %s", quote(args[0].text), PathlessError(err))
		return
	}
	ttl := r.ttl
	r.file(name, src, origin, r.depth+1)
	r.ttl = ttl // as the origin, the $TTL of the including file goes on
}

// PathlessError is the cause of an fs.PathError: its path is said already.
func PathlessError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
