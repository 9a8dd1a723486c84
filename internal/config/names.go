package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// inTree is where a path as written leads.
func (l *loader) inTree(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(l.Tree, name)
}

// maxText bounds a configuration or a list of zones, in octets.
const maxText = 64 << 20

// readText reads a file that the operator wrote.
func readText(path string) ([]byte, error) {
	b, _, err := durable.ReadFile(path, maxText)
	return b, err
}

// namesFrom reads a list of zones: a name a line, # begins a comment.
func (l *loader) namesFrom(file string) ([]named, error) {
	l.NamesFrom = append(l.NamesFrom, l.SourcePath(file))
	src, err := readText(l.SourcePath(file))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, cause(err))
	}
	var out []named
	number := 0
	for line := range strings.Lines(string(src)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		name := strings.TrimSpace(line)
		if name == "" {
			continue
		}
		out = append(out, named{name, diag.Pos{File: file, Line: number, Column: strings.Index(line, name) + 1}})
	}
	return out, nil
}

// zonesFromFiles makes a zone of each file in soa/.
func (l *loader) zonesFromFiles() {
	dir := l.Paths.SOA
	entries, err := os.ReadDir(l.SourcePath(dir))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.errorf(diag.Pos{File: dir}, "config-read", "list the zones: %s", cause(err))
		}
		return
	}
	l.Zones = slices.Grow(l.Zones, len(entries))
	for _, e := range entries {
		if e.IsDir() || dropping(e.Name()) {
			continue
		}
		at := diag.Pos{File: path.Join(dir, e.Name())}
		if !e.Type().IsRegular() && e.Type() != fs.ModeSymlink {
			l.faults.Warnf(at, "no-zone-name", "", "the file is left out: it is not a regular file")
			continue
		}
		name, err := domain.FromFileName(e.Name())
		if err != nil {
			l.faults.Warnf(at, "no-zone-name", "", "the file is left out: %s", err)
			continue
		}
		l.addZone(Zone{Policy: l.Default}, name, at)
	}
}

// dropping reports whether a file is what editors and version control leave.
func dropping(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") {
		return true
	}
	switch name {
	case "CVS", "RCS", "SCCS":
		return true
	}
	ext := strings.ToLower(path.Ext(name))
	switch ext {
	case ".swp", ".swo", ".swx", ".orig", ".rej", ".bak", ".tmp", ".mine", ".working":
		return true
	}
	// file.r42 (svn) and file,v (RCS).
	revision := strings.TrimPrefix(ext, ".r")
	return strings.HasSuffix(name, ",v") || revision != ext && revision != "" && strings.Trim(revision, "0123456789") == ""
}
