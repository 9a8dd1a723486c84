package primary

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/domain"
)

// TestIncludeOdd: what is no file is refused at once, never waited for.
func TestIncludeOdd(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // the path of a socket is short
	socket, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for link, to := range map[string]string{"null": "/dev/null", "zero": "/dev/zero", "loop": "loop", "tofifo": "fifo", "absolute": filepath.Join(dir, "p")} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, want string }{
		{"fifo", "not a regular file"},
		{"tofifo", "not a regular file"},
		{"socket", "not a regular file"},
		{"null", "path escapes from parent"},
		{"zero", "path escapes from parent"},
		{"absolute", "path escapes from parent"},
		{"loop", "too many levels of symbolic links"},
		{"p/x", "not a directory"},
	} {
		done := make(chan string)
		go func() {
			_, got := load(t, dir, "$INCLUDE "+tt.name+"\n")
			done <- got
		}()
		want := fmt.Sprintf("p:1:10: include %q: %s [include]\n", tt.name, tt.want)
		select {
		case got := <-done:
			if got != want {
				t.Errorf("got %swant %s", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is waited for", tt.name)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, file := range []string{"fifo", "."} {
		f, faults := Load(root.FS(), file, domain.MustParse("example.org"))
		if got, want := textOf(faults), file+": example.org.: read the primary/ fragment: not a regular file [source-missing]\n"; got != want || !f.Incomplete {
			t.Errorf("got %swant %s", got, want)
		}
	}
}

// TestIncludeDeep: seven files deep, by whatever way; a fault says where.
func TestIncludeDeep(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		put(fmt.Sprintf("d%d", i), fmt.Sprintf("r%d 60 A 192.0.2.1\n$INCLUDE d%d\nafter%d 60 A 192.0.2.1\n", i, i+1, i))
	}
	put("d8", "")
	put("a", "$INCLUDE b\n")
	put("b", "x 60 A 192.0.2.1\n$INCLUDE a\n")
	put("ttl", "$TTL 7\nt A 192.0.2.1\n")
	put("owner", " 60 A 192.0.2.1\n")
	for _, tt := range []struct {
		name, text string
		records    int
		want       string
	}{
		{"seven", "$INCLUDE d2\n", 12, ""},
		{"eight", "$INCLUDE d1\n", 14, "d7:2:1: $INCLUDE is nested more than 7 deep [include]\n"},
		{"a circle of two", "$INCLUDE a\n", 3, "a:1:1: $INCLUDE is nested more than 7 deep [include]\n"},
		{"a circle through the fragment", "$INCLUDE p\n", 0, "p:1:1: $INCLUDE is nested more than 7 deep [include]\n"},
		{"the same file twice", "$INCLUDE d7\n$INCLUDE d7 sub\n", 4, ""},
		{"$TTL ends with its file", "$INCLUDE ttl\nu A 192.0.2.1\n", 2, ""},
		{"the owner does not go in", "x 60 A 192.0.2.1\n$INCLUDE owner\n", 1, "owner:1:2: no owner: the line begins with white space and no record stands before it [owner-missing]\n"},
		{"arguments", "$INCLUDE\n$INCLUDE d7 a b\n$INCLUDE d7 a..b\n$INCLUDE .\n$INCLUDE ./d7\n$INCLUDE d7/\n$INCLUDE \"d 7\"\n", 0, `p:1:1: $INCLUDE needs a file and, at most, an origin [include]
p:2:1: $INCLUDE needs a file and, at most, an origin [include]
p:3:13: name "a..b": empty label [name]
p:4:10: "." is not a path inside the tree (no leading slash, no ..) [include]
p:5:10: "./d7" is not a path inside the tree (no leading slash, no ..) [include]
p:6:10: "d7/" is not a path inside the tree (no leading slash, no ..) [include]
p:7:10: include "d 7": no such file or directory [include]
`},
		{"an origin outside", "$INCLUDE d7 example.com.\n", 0, "d7:1:1: r7.example.com.: owner is outside the zone example.org. [out-of-zone]\nd7:3:1: after7.example.com.: owner is outside the zone example.org. [out-of-zone]\n"},
		{"an SOA in it", "$INCLUDE soa\n", 1, "soa:2:1: example.org.: SOA in a primary/ fragment: it belongs in soa/ [soa-in-primary]\n"},
	} {
		put("soa", "y 60 A 192.0.2.1\n@ SOA ns1 host 1 2 3 4 5\n")
		t.Run(tt.name, func(t *testing.T) {
			if n, got := load(t, dir, tt.text); n != tt.records || got != tt.want {
				t.Errorf("%d records, want %d\n%swant\n%s", n, tt.records, got, tt.want)
			}
		})
	}
}

// TestGenerate: the bounds of $GENERATE, from both sides.
func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	bad := "$GENERATE 0-65535 h$ A nonsense\n"
	for _, tt := range []struct {
		name, text string
		records    int
		want       string
	}{
		{"the most", "$GENERATE 0-65535 h$ A 192.0.2.1\n", 65536, ""},
		{"one more", "$GENERATE 0-65536 h$ A 192.0.2.1\n", 0, "p:1:11: range \"0-65536\" makes 65537 records, at most 65536 are allowed [generate]\n"},
		{"steps", "$GENERATE 0-131071/2 h A 192.0.2.1\n$GENERATE 0-131072/2 h A 192.0.2.1\n", 65536, "p:2:11: range \"0-131072/2\" makes 65537 records, at most 65536 are allowed [generate]\n"},
		{"the highest number", "$GENERATE 2147483646-2147483647 h$ A 192.0.2.1\n", 2, ""},
		{"too high a number", "$GENERATE 2147483647-2147483648 h$ A 192.0.2.1\n", 0, "p:1:11: range \"2147483647-2147483648\": \"2147483648\" is not a number [generate]\n"},
		{"too high an offset", "$GENERATE 1-2 h${1073741824} A 192.0.2.1\n", 0, "p:1:15: \"h${1073741824}\": bad modifier \"1073741824\" [generate]\n"},
		{"a modifier of three parts", "$GENERATE 1-2 h${1,2,d,4} A 192.0.2.1\n", 0, "p:1:15: \"h${1,2,d,4}\": bad modifier \"1,2,d,4\" [generate]\n"},
		{"all together", strings.Repeat(bad, 17), 0, func() string {
			var b strings.Builder
			for i := range 16 {
				fmt.Fprintf(&b, "p:%d:1: h0.example.org.: A: \"nonsense\" is not an IPv4 address [rdata]\n", i+1)
			}
			return b.String() + "p:17:1: more than 1048576 generated records [generate]\n"
		}()},
		{"an SOA", "$GENERATE 1-2 @ SOA a b $ 2 3 4 5\n", 0, "p:1:1: example.org.: SOA in a primary/ fragment: it belongs in soa/ [soa-in-primary]\np:1:1: example.org.: SOA in a primary/ fragment: it belongs in soa/ [soa-in-primary]\n"},
		{"a directive", "$GENERATE 1-2 \\$TTL 300 A 192.0.2.$\n", 2, ""},
		{"a comment in it", "$GENERATE 1-2 h$ A \"192.0.2.1 ;\"\n", 2, ""},
		{"a line in it", "$GENERATE 1-2 h$ TXT \"a\\010b\"\n", 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n, got := load(t, dir, tt.text); n != tt.records || got != tt.want {
				t.Errorf("%d records, want %d\n%swant\n%s", n, tt.records, got, tt.want)
			}
		})
	}
}
