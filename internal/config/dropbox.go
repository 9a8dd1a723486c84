package config

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"zonebuild/internal/domain"
)

// DropBox is a directory that others fill with challenges.
type DropBox struct {
	Path      string        // ready to use
	Names     []domain.Name // it may prove these and what is below them; none = any
	Aliases   []domain.Name // owners without _acme-challenge that it may write
	TTL       time.Duration
	MaxValues int
	MaxAge    time.Duration
	Owner     *uint32 // uid that its files must have; nil = any
	Marker    string
	Report    string // file that is written for the jail; "" = none
	MayHide   bool   // its challenges may make a name exist for which a wildcard answers
}

func defaultDropBox() DropBox {
	return DropBox{TTL: time.Minute, MaxValues: 64, MaxAge: day}
}

func dropBoxKeys(b *DropBox) []key {
	return []key{
		{"path", localPath(&b.Path)},
		{"names", names(&b.Names)},
		{"aliases", names(&b.Aliases)},
		{"ttl", duration(&b.TTL, time.Second, time.Hour)},
		{"max-values", number(&b.MaxValues, 1, 4096)},
		{"max-age", duration(&b.MaxAge, 10*time.Minute, 30*day)},
		{"owner", func(v value) error {
			s, err := v.str()
			if err != nil {
				return err
			}
			uid, err := userID(s)
			if err == nil {
				b.Owner = &uid
			}
			return err
		}},
		{"marker", fileName(&b.Marker)},
		{"report", localPath(&b.Report)},
		{"may-hide-wildcards", boolean(&b.MayHide)},
	}
}

// names reads a list of domain names.
func names(to *[]domain.Name) func(value) error {
	return func(v value) error {
		var out []domain.Name
		err := v.each(func(s string) error {
			n, err := domain.Parse(s)
			out = append(out, n)
			return err
		})
		if err == nil {
			*to = out
		}
		return err
	}
}

// userID reads a user's number or name.
func userID(s string) (uint32, error) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return uint32(n), nil
	}
	u, err := user.Lookup(s)
	if err != nil {
		return 0, fmt.Errorf("there is no user %q", s)
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err
}

// loadDropBoxes reads every [[drop-box]].
func (l *loader) loadDropBoxes(e *entry) {
	if e.val.kind != unstable.Array {
		l.errorf(e.at, "config-value", "drop-box: must be a list of tables: [[drop-box]]")
		return
	}
	for _, v := range e.val.list {
		if v.table == nil {
			l.errorf(v.at, "config-value", "drop-box: must be a list of tables: [[drop-box]]")
			continue
		}
		b := defaultDropBox()
		failed := l.read(v.table, "[drop-box]", dropBoxKeys(&b))
		switch {
		case slices.Contains(failed, "path"):
			continue
		case b.Path == "":
			l.errorf(v.at, "config-value", "[[drop-box]] needs a path")
			continue
		}
		b.Path = l.inTree(b.Path)
		if b.Report != "" {
			b.Report = l.inTree(b.Report)
		}
		if slices.ContainsFunc(l.DropBoxes, func(o DropBox) bool { return o.Path == b.Path }) {
			l.errorf(v.at, "config-value", "two drop boxes have the path %s", b.Path)
		}
		l.DropBoxes = append(l.DropBoxes, b)
	}
}

// defaultBox is the drop box of a tree that configures none: dnsextra/.
func (l *loader) defaultBox() {
	if len(l.DropBoxes) > 0 {
		if at, ok := l.sourceAt["dnsextra"]; ok {
			l.errorf(at, "config-value", "[source.dnsextra] is for a tree without [[drop-box]]: give each box its path and marker")
		}
		return
	}
	b := defaultDropBox()
	b.Path, b.Marker = l.Paths.DNSExtra, l.Sources["dnsextra"].Marker
	l.DropBoxes = []DropBox{b}
}
