package cli

import (
	"slices"
	"strings"
	"testing"
)

// testSpec has what the commands of both programs have.
func testSpec() ArgSpec {
	value := func(names ...string) Option { return Option{Names: names, TakesValue: true} }
	flag := func(names ...string) Option { return Option{Names: names} }
	return ArgSpec{
		Options: []Option{
			value("C", "directory"), value("now"), value("log-format"),
			flag("q", "quiet"), flag("verbose"), flag("json"),
		},
		Commands: []ArgSpec{
			{Names: []string{"build"}, Options: []Option{flag("n", "dry-run"), flag("new-zone"), value("jobs", "j")}},
			{Names: []string{"keygen"}, Options: []Option{flag("all-missing"), value("algorithm"), flag("csk")}},
			{Names: []string{"status"}, Options: []Option{flag("nagios"), flag("json")}},
			{Names: []string{"retire"}, Options: []Option{value("n")}},
			{
				Names:   []string{"tlsa", "t"},
				Options: []Option{value("map")},
				Commands: []ArgSpec{
					{Names: []string{"status"}, Options: []Option{flag("all")}},
					{Names: []string{"show"}},
				},
			},
			{Names: []string{"hook"}, Raw: true},
		},
	}
}

func TestArrange(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"in order", "-C tree build --dry-run example.org", "-C tree build --dry-run example.org"},
		{"option last", "build example.org --dry-run", "build --dry-run example.org"},
		{"value last", "keygen example.org --algorithm 13", "keygen --algorithm 13 example.org"},
		{"value between", "build a --jobs 2 b", "build --jobs 2 a b"},
		{"equals", "build a --jobs=2 b", "build --jobs=2 a b"},
		{"empty value", "build a --jobs= b", "build --jobs= a b"},
		{"one dash", "build a -jobs 2 b", "build -jobs 2 a b"},
		{"root option last", "build example.org -C tree", "-C tree build example.org"},
		{"root options anywhere", "build --now 2026-01-01T00:00:00Z a --json -q b --verbose", "--now 2026-01-01T00:00:00Z --json -q --verbose build a b"},
		{"order is kept", "build --now x -C a -C b", "--now x -C a -C b build"},

		{"negative value", "build a --jobs -5", "build --jobs -5 a"},
		{"value like an option", "build --jobs --json a", "build --jobs --json a"},
		{"value is the dashes", "build --jobs -- a", "build --jobs -- a"},
		{"negative argument", "build -5", "build -5"},
		{"negative argument behind dashes", "build -- -5", "build -- -5"},
		{"dash alone", "build a - --dry-run", "build --dry-run a -"},
		{"dash as value", "build --jobs - a", "build --jobs - a"},

		{"dashes end options", "build a -- --dry-run -C x", "build -- a --dry-run -C x"},
		{"dashes after options", "build a --dry-run -- -b", "build --dry-run -- a -b"},
		{"dashes twice", "build -- a -- b", "build -- a -- b"},
		{"dashes before the command", "-C tree -- build --dry-run", "-C tree build -- --dry-run"},
		{"dashes alone", "--", "--"},

		{"short options together", "build -qn a", "-q build -n a"},
		{"short with value together", "build a -nC tree", "-C tree build -n a"},
		{"value in the word", "build -Ctree a", "-C=tree build a"},
		{"value in the word behind a flag", "build a -qCtree", "-q -C=tree build a"},
		{"value with equals behind a flag", "build a -qC=tree", "-q -C=tree build a"},
		{"one unknown letter", "build -qx a", "build -qx a"},
		{"long with one dash is no cluster", "build a -json", "-json build a"},
		{"boolean with value", "build a --json=false", "--json=false build a"},

		{"argument h", "build h", "build h"},
		{"argument help", "build help --dry-run", "build --dry-run help"},
		{"option h", "build a -h", "build -h"},
		{"help before the command", "--help build", "build --help"},
		{"help for the sub-command", "--help tlsa status x", "tlsa status --help"},
		{"help alone", "--help", "--help"},
		{"help beside all else", "-C tree build -n a --help --jobs 2 -- b", "build --help"},
		{"help of an unknown command", "bild --help", "--help"},
		{"help denied", "build a --help=false", "build --help=false a"},
		{"help behind dashes", "build -- --help", "build -- --help"},

		{"sub-command", "tlsa status a --all --map f --json", "--json tlsa --map f status --all a"},
		{"alias", "t --all status", "t status --all"},
		{"option between", "tlsa --map f status", "tlsa --map f status"},
		{"name as value", "tlsa --map status show", "tlsa --map status show"},
		{"argument is no sub-command", "tlsa x status", "tlsa x status"},
		{"argument named as a command", "build status --dry-run", "build --dry-run status"},
		{"innermost level wins", "--json status", "status --json"},

		{"option before its command", "--new-zone build", "build --new-zone"},
		{"option with value before its command", "--algorithm 13 keygen a", "keygen --algorithm 13 a"},
		{"commands differ on the value", "-n build", "build -n"},
		{"option of another command", "--csk build a", "build --csk a"},

		{"unknown option", "build a --nope", "build --nope a"},
		{"unknown option with value", "build a --nope=1", "build --nope=1 a"},
		{"unknown option alone", "--nope", "--nope"},
		{"three dashes", "build a ---q", "build ---q a"},
		{"dash equals", "build a -=x", "build -=x a"},
		{"unknown command", "bild a --nope --json", "--json bild a --nope"},
		{"unknown sub-command", "tlsa shwo --nope -q", "-q tlsa shwo --nope"},

		{"root value missing", "build a --now", "--now"},
		{"value missing", "-q build a --jobs", "build --jobs"},
		{"short value missing", "build a -nC", "-C"},
		{"value missing below", "tlsa status --map", "tlsa --map"},

		{"raw", "hook a --json -- -C x", "hook a --json -- -C x"},
		{"raw with root options", "-C tree --json hook deploy --json", "-C tree --json hook deploy --json"},
		{"raw is not for unknown options", "--nope hook a", "--nope hook a"},
		{"raw is not for help", "--help hook a", "--help"},
		{"raw behind dashes", "-- hook -a", "hook -a"},
		{"raw word later", "build hook --dry-run", "build --dry-run hook"},
		{"not ASCII", "build -qé ü", "build -qé ü"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.Fields(tt.in)
			before := slices.Clone(in)
			got := Arrange(in, testSpec())
			if want := strings.Fields(tt.want); !slices.Equal(got, want) {
				t.Errorf("Arrange(%q)\n got %q\nwant %q", in, got, want)
			}
			if !slices.Equal(in, before) {
				t.Errorf("the input was changed to %q", in)
			}
			if again := Arrange(got, testSpec()); !slices.Equal(again, got) {
				t.Errorf("a second pass changes %q to %q", got, again)
			}
		})
	}
}

func TestArrangeEmptyWords(t *testing.T) {
	got := Arrange([]string{"build", "", "--jobs", "", "--dry-run"}, testSpec())
	if want := []string{"build", "--jobs", "", "--dry-run", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGiven(t *testing.T) {
	tests := []struct {
		in   string
		want bool
	}{
		{"bild --json", true},
		{"--json bild", true},
		{"build -json", true},
		{"build --json=true", true},
		{"build --json=false", false},
		{"build --json --json=0", false},
		{"build -- --json", false},
		{"build --jobs --json", false},
		{"hook --json", false},
		{"build --nope --json", true},
		{"status --json", true},
		{"build", false},
	}
	for _, tt := range tests {
		if got := Given(strings.Fields(tt.in), testSpec(), "json"); got != tt.want {
			t.Errorf("Given(%q, json) = %v", tt.in, got)
		}
	}
	if !Given([]string{"build", "-qn"}, testSpec(), "quiet") {
		t.Error("the other name of -q is not seen")
	}
}

// FuzzArrange: whatever is typed, no word is lost or invented (but for the
// taking apart of short options, a value that is missing and a call for help), and a second pass
// changes nothing.
func FuzzArrange(f *testing.F) {
	for _, s := range []string{"build a -qn -C x", "tlsa -- status --map", "hook --", "-qCtree build", "--help bild --nope", "-qn -Ca build"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		in := strings.Fields(s)
		got := Arrange(in, testSpec())
		if again := Arrange(got, testSpec()); !slices.Equal(again, got) {
			t.Errorf("%q gives %q, and that %q", in, got, again)
		}
		if slices.ContainsFunc(read(in, testSpec()).options, func(o placed) bool { return o.lacksValue || o.has("help") }) {
			return
		}
		// Letters are compared, not words: -qn becomes -q -n, -Cx becomes -C=x.
		if letters(in) != letters(got) {
			t.Errorf("%q gives %q", in, got)
		}
	})
}

func letters(words []string) string {
	b := []byte(strings.Join(words, ""))
	b = slices.DeleteFunc(b, func(c byte) bool { return c == '-' || c == '=' })
	slices.Sort(b)
	return string(b)
}
