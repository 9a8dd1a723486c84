package cli

import (
	"slices"
	"strconv"
	"strings"
)

// ArgSpec says what stands on the command line of a program (the root), of a
// command and of its sub-commands: just enough to tell an option from its value
// and a command from an argument. cmd/ derives it from its own commands.
type ArgSpec struct {
	Names    []string // of the command and its aliases; empty for the root
	Options  []Option // of this level; those of the root may stand anywhere
	Commands []ArgSpec
	Raw      bool // the words after this command are none of our business
}

// Option is one option with all its names, without dashes.
type Option struct {
	Names      []string
	TakesValue bool
}

// Arrange reorders the words after the program's name for a command-line
// library that wants the options of each level before that level's arguments:
// root options, command, its options, sub-command, its options, arguments.
//
//   - An option may stand anywhere before "--", also before its command; it goes
//     to the innermost level that knows it. One that no level knows goes to the
//     innermost, where the library refuses it.
//   - "--" ends the options; it is kept, in front of the arguments.
//   - An option that takes a value takes the next word, whatever it looks like.
//   - Short options are taken apart: -qv is -q -v, -Cdir is -C=dir. Long ones
//     may have one dash.
//   - "help" and "h" are options of every level. One that is given falls back to
//     its command alone: the library would take an argument for a help topic.
//   - An option without its value is left as the last word, so that the library
//     says so instead of taking the next thing for the value.
//   - The words after a Raw command stay as they are, options of the root too.
//
// The library must be told to hide its help command, or an argument "h" or
// "help" in first place still means help.
func Arrange(args []string, spec ArgSpec) []string {
	for range len(args) + 1 {
		// Short options before their command are taken apart once it is known.
		out := arrange(args, spec)
		if slices.Equal(out, args) {
			break
		}
		args = out
	}
	return args
}

func arrange(args []string, spec ArgSpec) []string {
	l := read(args, spec)
	for _, o := range l.options {
		if o.lacksValue || o.has("help") && o.on() {
			return append(slices.Clone(l.words[:o.level]), o.words...)
		}
	}
	var out []string
	for level := range l.path {
		if level > 0 {
			out = append(out, l.words[level-1])
		}
		for _, o := range l.options {
			if o.level == level {
				out = append(out, o.words...)
			}
		}
	}
	if l.ended {
		out = append(out, "--")
	}
	return append(out, l.args...)
}

// Given reports whether the words ask for the boolean option, by any of its
// names. It is for the error of a command line that the library refused, when
// the library's own answer is not to be had.
func Given(args []string, spec ArgSpec, name string) bool {
	given := false
	for _, o := range read(args, spec).options {
		if o.has(name) {
			given = o.on()
		}
	}
	return given
}

// line is a command line taken apart.
type line struct {
	path    []ArgSpec // the root and the commands found
	words   []string  // the commands as they were written, one fewer than path
	options []placed
	args    []string // the arguments, or all words after a raw command
	ended   bool     // by "--"
}

// placed is an option as it was met.
type placed struct {
	name       string   // as it was written, without dashes
	names      []string // all names of the option
	words      []string // as they are handed on
	known      bool
	lacksValue bool
	level      int // index into path
}

// has reports whether name is one of the option's names.
func (p placed) has(name string) bool { return slices.Contains(p.names, name) }

// on is the value of a boolean option.
func (p placed) on() bool {
	_, value, has := strings.Cut(p.words[0], "=")
	on, err := strconv.ParseBool(value)
	return !has || err == nil && on
}

func read(args []string, spec ArgSpec) *line {
	l := &line{path: []ArgSpec{spec}}
	for i := 0; i < len(args); i++ {
		word := args[i]
		switch {
		case l.ended || len(word) < 2 || word[0] != '-':
			if l.isCommand(word) && l.innermost().Raw {
				l.args, l.ended = slices.Clone(args[i+1:]), false
				i = len(args)
			}
		case word == "--":
			l.ended = true
		default:
			i += l.option(word, args[i+1:])
		}
	}
	l.place()
	return l
}

func (l *line) innermost() ArgSpec { return l.path[len(l.path)-1] }

// isCommand adds the word to the path if it names a command there, and to the
// arguments if not. After the first argument no word is a command.
func (l *line) isCommand(word string) bool {
	if len(l.args) == 0 {
		for _, c := range l.innermost().Commands {
			if slices.Contains(c.Names, word) {
				l.path = append(l.path, c)
				l.words = append(l.words, word)
				return true
			}
		}
	}
	l.args = append(l.args, word)
	return false
}

// option takes a word with a dash and, if need be, its value from the words
// that follow; it returns how many of these it took.
func (l *line) option(word string, next []string) int {
	name, _, hasValue := strings.Cut(strings.TrimPrefix(word[1:], "-"), "=")
	if o, ok := l.find(name); ok {
		return l.add(o, name, word, hasValue || !o.TakesValue, next)
	}
	if word[1] != '-' {
		if took, ok := l.letters(word[1:], next); ok {
			return took
		}
	}
	l.options = append(l.options, placed{name: name, words: []string{word}})
	return 0
}

func (l *line) add(o Option, name, word string, whole bool, next []string) int {
	p := placed{name: name, names: o.Names, words: []string{word}, known: true}
	took := 0
	switch {
	case whole:
	case len(next) == 0:
		p.lacksValue = true
	default:
		p.words = append(p.words, next[0])
		took = 1
	}
	l.options = append(l.options, p)
	return took
}

// letters takes apart short options behind one dash. If one of them is unknown
// the word stays whole, for the error message to show what was written.
func (l *line) letters(s string, next []string) (took int, ok bool) {
	var found []Option
	for i := range s {
		o, ok := l.find(s[i : i+1])
		if !ok {
			return 0, false
		}
		found = append(found, o)
		if o.TakesValue {
			break
		}
	}
	for i, o := range found {
		letter, rest := s[i:i+1], s[i+1:]
		if o.TakesValue && rest != "" {
			l.add(o, letter, "-"+letter+"="+strings.TrimPrefix(rest, "="), true, nil)
			continue
		}
		took = l.add(o, letter, "-"+letter, !o.TakesValue, next)
	}
	return took, true
}

// find looks for the option from the innermost level outwards, then in all
// commands that may still follow, for an option written before its command.
func (l *line) find(name string) (Option, bool) {
	if name == "help" || name == "h" {
		return Option{Names: []string{"help", "h"}}, true
	}
	for _, level := range slices.Backward(l.path) {
		if o, ok := level.own(name); ok {
			return o, true
		}
	}
	if len(l.args) > 0 {
		return Option{}, false
	}
	return l.innermost().below(name)
}

func (s ArgSpec) own(name string) (Option, bool) {
	for _, o := range s.Options {
		if slices.Contains(o.Names, name) {
			return o, true
		}
	}
	return Option{}, false
}

// below finds the option in the commands of s. Where two commands differ on
// whether it takes a value, nobody can tell before the command is known.
func (s ArgSpec) below(name string) (found Option, ok bool) {
	for _, c := range s.Commands {
		o, has := c.own(name)
		if !has {
			o, has = c.below(name)
		}
		if !has {
			continue
		}
		if ok && o.TakesValue != found.TakesValue {
			return Option{}, false
		}
		found, ok = o, true
	}
	return found, ok
}

// place gives each option its level, now that the whole path is known.
func (l *line) place() {
	inner := len(l.path) - 1
	if l.innermost().Raw && inner > 0 {
		inner-- // what was written before a raw command is not for that command
	}
	// Behind a word that should be a command and is none, an unknown option is
	// no fault of its own: it stays behind that word, which is refused first.
	lost := len(l.args) > 0 && len(l.path[inner].Commands) > 0 && !l.innermost().Raw
	l.options = slices.DeleteFunc(l.options, func(o placed) bool {
		if lost && !o.known {
			l.args = append(l.args, o.words...)
		}
		return lost && !o.known
	})
	for i := range l.options {
		l.options[i].level = l.level(l.options[i], inner)
	}
}

func (l *line) level(o placed, inner int) int {
	if o.has("help") {
		return inner
	}
	for k, level := range slices.Backward(l.path[:inner+1]) {
		if _, ok := level.own(o.name); ok {
			return k
		}
	}
	return inner
}
