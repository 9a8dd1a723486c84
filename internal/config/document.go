package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"zonebuild/internal/diag"
)

// table is a TOML table with the place of every key, however it was written:
// under a header, by dotted keys, or inline.
type table struct {
	entries []*entry // in the order of the file
}

// entry is one key of a table.
type entry struct {
	key string
	at  diag.Pos
	val value
}

// value is one TOML value with its place.
type value struct {
	kind  unstable.Kind
	text  string // of a string; of another scalar as it was written
	list  []value
	table *table
	at    diag.Pos
}

func (t *table) find(key string) *entry {
	i := slices.IndexFunc(t.entries, func(e *entry) bool { return e.key == key })
	if i < 0 {
		return nil
	}
	return t.entries[i]
}

// parse takes a TOML document apart. Its syntax and that no key stands twice is
// judged by go-toml, which stops at the first such fault; the rest, of which
// one run can report every fault, is for the caller.
func parse(file string, src []byte) (*table, *syntaxError) {
	var all map[string]any
	if err := toml.Unmarshal(src, &all); err != nil {
		e := &syntaxError{diag.Pos{File: file}, strings.TrimPrefix(err.Error(), "toml: ")}
		var de *toml.DecodeError
		if errors.As(err, &de) {
			e.at.Line, e.at.Column = de.Position()
		}
		return nil, e
	}
	d := &document{file: file, lines: lineStarts(src)}
	d.parser.Reset(src)
	root := &table{}
	current := root
	for d.parser.NextExpression() {
		e := d.parser.Expression()
		switch e.Kind {
		case unstable.Table:
			current = enter(root, d.key(e))
		case unstable.ArrayTable:
			current = extend(root, d.key(e))
		case unstable.KeyValue:
			d.assign(current, e)
		}
	}
	if err := d.parser.Error(); err != nil {
		return nil, &syntaxError{diag.Pos{File: file}, err.Error()}
	}
	return root, nil
}

type syntaxError struct {
	at  diag.Pos
	msg string
}

// part is one part of a dotted key.
type part struct {
	name string
	at   diag.Pos
}

// enter gives the table that a dotted key names, from t on. A list of tables
// stands for its last one.
func enter(t *table, key []part) *table {
	for _, p := range key {
		e := t.find(p.name)
		if e == nil {
			e = &entry{p.name, p.at, value{kind: unstable.InlineTable, table: &table{}, at: p.at}}
			t.entries = append(t.entries, e)
		}
		switch v := e.val; {
		case v.table != nil:
			t = v.table
		case len(v.list) > 0 && v.list[len(v.list)-1].table != nil:
			t = v.list[len(v.list)-1].table
		default:
			t = &table{} // go-toml has refused this
		}
	}
	return t
}

// extend adds a table to the list of tables that a dotted key names.
func extend(root *table, key []part) *table {
	last := key[len(key)-1]
	t := enter(root, key[:len(key)-1])
	e := t.find(last.name)
	if e == nil {
		e = &entry{last.name, last.at, value{kind: unstable.Array, at: last.at}}
		t.entries = append(t.entries, e)
	}
	added := &table{}
	e.val.list = append(e.val.list, value{kind: unstable.InlineTable, table: added, at: last.at})
	return added
}

// document knows where the nodes of a parser stand.
type document struct {
	file   string
	parser unstable.Parser
	lines  []int // offsets at which lines begin
}

func lineStarts(src []byte) []int {
	starts := []int{0}
	for i, b := range src {
		if b == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

func (d *document) pos(r unstable.Range) diag.Pos {
	line, found := slices.BinarySearch(d.lines, int(r.Offset))
	if !found {
		line--
	}
	return diag.Pos{File: d.file, Line: line + 1, Column: int(r.Offset) - d.lines[line] + 1}
}

func (d *document) key(n *unstable.Node) []part {
	var parts []part
	for it := n.Key(); it.Next(); {
		parts = append(parts, part{string(it.Node().Data), d.pos(it.Node().Raw)})
	}
	return parts
}

// assign files a key, which may be dotted, in its table.
func (d *document) assign(t *table, n *unstable.Node) {
	key := d.key(n)
	last := key[len(key)-1]
	t = enter(t, key[:len(key)-1])
	t.entries = append(t.entries, &entry{last.name, key[0].at, d.value(n.Value(), key[0].at)})
}

// value reads a node. Lists have no place of their own and get that of their key.
func (d *document) value(n *unstable.Node, at diag.Pos) value {
	v := value{kind: n.Kind, at: at}
	if n.Raw.Length > 0 {
		v.at = d.pos(n.Raw)
	}
	switch n.Kind {
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			if it.Node().Kind != unstable.Comment {
				v.list = append(v.list, d.value(it.Node(), at))
			}
		}
	case unstable.InlineTable:
		v.table = &table{}
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				d.assign(v.table, it.Node())
			}
		}
	default:
		v.text = string(n.Data)
	}
	return v
}

// quoted writes a list of words for a message.
func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(out, ", ")
}
