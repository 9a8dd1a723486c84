package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"zonebuild/internal/diag"
)

// value is one TOML value with its place.
type value struct {
	kind unstable.Kind
	text string // of a string, or as it was written
	list []value
	pos  diag.Pos
}

// entry is one key of a section.
type entry struct {
	key string
	pos diag.Pos
	val value
}

// section is one table: its path, and its keys in the order of the file.
type section struct {
	path    string
	array   bool
	pos     diag.Pos
	entries []entry
}

// read takes a TOML document apart with the place of every key, so that one
// run can report every fault. go-toml judges the syntax.
func read(file string, src []byte) ([]section, error) {
	var all map[string]any
	if err := toml.Unmarshal(src, &all); err != nil {
		var de *toml.DecodeError
		if errors.As(err, &de) {
			row, column := de.Position()
			return nil, &syntaxError{diag.Pos{File: file, Line: row, Column: column}, strings.TrimPrefix(de.Error(), "toml: ")}
		}
		return nil, &syntaxError{diag.Pos{File: file}, err.Error()}
	}
	p := &unstable.Parser{}
	p.Reset(src)
	pos := func(r unstable.Range) diag.Pos {
		s := p.Shape(r).Start
		return diag.Pos{File: file, Line: s.Line, Column: s.Column}
	}
	sections := []section{{pos: diag.Pos{File: file, Line: 1, Column: 1}}}
	for p.NextExpression() {
		e := p.Expression()
		parts, at := keyOf(e, pos)
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			sections = append(sections, section{path: strings.Join(parts, "."), array: e.Kind == unstable.ArrayTable, pos: at})
		case unstable.KeyValue:
			s := &sections[len(sections)-1]
			sections = flatten(sections, s.path, s.array, parts, at, valueOf(e.Value(), pos, at))
		}
	}
	if err := p.Error(); err != nil {
		return nil, &syntaxError{diag.Pos{File: file}, err.Error()}
	}
	return sections, nil
}

type syntaxError struct {
	pos diag.Pos
	msg string
}

func (e *syntaxError) Error() string { return e.msg }

// flatten files a key under its section; a dotted key is one of a sub-section.
func flatten(all []section, path string, array bool, parts []string, at diag.Pos, v value) []section {
	last := len(parts) - 1
	if last == 0 {
		s := &all[len(all)-1]
		s.entries = append(s.entries, entry{parts[0], at, v})
		return all
	}
	sub := strings.Join(append(strings.FieldsFunc(path, func(r rune) bool { return r == '.' }), parts[:last]...), ".")
	open := section{path: path, array: array, pos: at}
	return append(all, section{path: sub, pos: at, entries: []entry{{parts[last], at, v}}}, open)
}

func keyOf(n *unstable.Node, pos func(unstable.Range) diag.Pos) (parts []string, at diag.Pos) {
	for it := n.Key(); it.Next(); {
		if len(parts) == 0 {
			at = pos(it.Node().Raw)
		}
		parts = append(parts, string(it.Node().Data))
	}
	return parts, at
}

func valueOf(n *unstable.Node, pos func(unstable.Range) diag.Pos, at diag.Pos) value {
	v := value{kind: n.Kind, text: string(n.Data), pos: at}
	if n.Raw.Length > 0 {
		v.pos = pos(n.Raw)
	}
	if n.Kind == unstable.Array {
		for it := n.Children(); it.Next(); {
			if it.Node().Kind != unstable.Comment {
				v.list = append(v.list, valueOf(it.Node(), pos, at))
			}
		}
	}
	return v
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

func (v value) strings() ([]string, error) {
	if v.kind != unstable.Array {
		return nil, errors.New("must be a list of strings")
	}
	out := make([]string, 0, len(v.list))
	for _, e := range v.list {
		s, err := e.str()
		if err != nil {
			return nil, errors.New("must be a list of strings")
		}
		out = append(out, s)
	}
	return out, nil
}
