package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// loadPolicies reads [policy] first, then every [policy.NAME] on top of it.
func (l *loader) loadPolicies(sections []section) {
	base := defaultPolicy()
	for _, s := range sections {
		if s.path == "policy" && !s.array {
			l.setPolicy(s, &base)
		}
	}
	l.policies[""] = &base
	for _, s := range sections {
		name, ok := strings.CutPrefix(s.path, "policy.")
		if !ok {
			continue
		}
		if l.policies[name] == nil {
			p := base
			l.policies[name] = &p
		}
		l.setPolicy(s, l.policies[name])
	}
	for _, s := range sections {
		if p := l.policies[strings.TrimPrefix(strings.TrimPrefix(s.path, "policy"), ".")]; p != nil && strings.HasPrefix(s.path, "policy") {
			l.finishPolicy(p, s.pos)
		}
	}
	l.policies[""].finish()
}

func (l *loader) setPolicy(s section, p *Policy) {
	l.set(s, func(key string) func(value) error {
		set := policySetter(key)
		if set == nil {
			return nil
		}
		return func(v value) error { return set(p, v) }
	})
}

func (l *loader) finishPolicy(p *Policy, pos diag.Pos) {
	for _, why := range p.finish() {
		l.errorf(pos, "config-value", "%s", why)
	}
	for _, why := range p.unsupported() {
		l.errorf(pos, "config-unsupported", "%s", why)
	}
}

// loadZones reads one [[zone]].
func (l *loader) loadZones(s section) {
	z := Zone{Policy: *l.policies[""]}
	var names []string
	var nameAt []diag.Pos
	namesFrom, own := false, false
	for _, e := range s.entries { // the named policy first, wherever it stands
		if e.key != "policy" {
			continue
		}
		l.setOne(s, e, func(v value) error {
			name, err := v.str()
			if err != nil || name == "" || l.policies[name] == nil {
				return fmt.Errorf("there is no [policy.%s]", v.text)
			}
			z.Policy = *l.policies[name]
			return nil
		})
	}
	for _, e := range s.entries {
		switch e.key {
		case "policy":
		case "names":
			l.setOne(s, e, func(v value) error {
				list, err := v.strings()
				for i := range list {
					names, nameAt = append(names, list[i]), append(nameAt, v.list[i].pos)
				}
				return err
			})
		case "names-from":
			namesFrom = true
			l.setOne(s, e, func(v value) error {
				file, err := v.str()
				if err != nil {
					return err
				}
				return l.namesFrom(file, &names, &nameAt)
			})
		case "soa":
			l.setOne(s, e, text(&z.SOA))
		case "primary":
			l.setOne(s, e, func(v value) (err error) {
				z.Primary, err = v.strings()
				return err
			})
		case "ds":
			l.setOne(s, e, func(v value) (err error) {
				z.DS, err = v.strings()
				return err
			})
		default:
			set := policySetter(e.key)
			if set == nil {
				l.setOne(s, e, nil)
				continue
			}
			own = true
			l.setOne(s, e, func(v value) error { return set(&z.Policy, v) })
		}
	}
	if own {
		l.finishPolicy(&z.Policy, s.pos)
	}
	if len(names) == 0 && !namesFrom {
		l.errorf(s.pos, "config-value", "[[zone]] needs names or names-from")
	}
	for i, name := range names {
		l.addZone(z, name, nameAt[i])
	}
}

// namesFrom reads a list of zones: a name a line, # begins a comment.
func (l *loader) namesFrom(file string, names *[]string, at *[]diag.Pos) error {
	path := file
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.Tree, path)
	}
	src, err := os.ReadFile(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("read %s: %w", file, err)
	}
	number := 0
	for line := range strings.Lines(string(src)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			*names, *at = append(*names, line), append(*at, diag.Pos{File: file, Line: number, Column: 1})
		}
	}
	return nil
}

func (l *loader) addZone(z Zone, text string, pos diag.Pos) {
	name, err := domain.Parse(text)
	if err != nil {
		l.errorf(pos, "config-value", "zone %s", err)
		return
	}
	if l.zoneAt == nil {
		l.zoneAt = map[domain.Name]diag.Pos{}
	}
	if first, ok := l.zoneAt[name]; ok {
		l.faults.Errorf(pos, "config-zone-twice", name.String(), "the zone stands twice").At(first, "the first")
		return
	}
	l.zoneAt[name] = pos
	z.Name = name
	if z.SOA == "" {
		z.SOA = "soa/" + name.FileName()
	}
	if z.Primary == nil {
		z.Primary = []string{"primary/" + name.FileName()}
	}
	l.Zones = append(l.Zones, z)
}

// zonesFromFiles makes a zone of each file in soa/.
func (l *loader) zonesFromFiles() {
	entries, err := os.ReadDir(filepath.Join(l.Tree, "soa"))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.errorf(diag.Pos{File: "soa"}, "config-read", "list the zones: %s", err)
		}
		return
	}
	for _, e := range entries {
		if e.IsDir() || dropping(e.Name()) {
			continue
		}
		name, err := domain.FromFileName(e.Name())
		if err != nil {
			l.faults.Warnf(diag.Pos{File: "soa/" + e.Name()}, "no-zone-name", "", "the file is left out: %s", err)
			continue
		}
		l.addZone(Zone{Policy: *l.policies[""]}, name.String(), diag.Pos{File: "soa/" + e.Name()})
	}
}

// dropping reports whether a file is what editors and version control leave.
func dropping(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") || name == "CVS" {
		return true
	}
	for _, ext := range []string{".swp", ".swo", ".orig", ".rej", ".bak", ".tmp", ".mine"} {
		if strings.HasSuffix(name, ext) {
			return true
		}
	}
	return false
}
