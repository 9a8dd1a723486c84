package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// load writes files into a tree and loads it.
func load(t *testing.T, files map[string]string) (*Config, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, faults := Load(dir)
	var b strings.Builder
	for _, d := range faults {
		b.WriteString(strings.ReplaceAll(d.String(), dir, "DIR") + "\n")
	}
	return c, b.String()
}

func TestFaults(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"all at once", "foo = 1\n[policy]\nvalidity = 14\nrefresh = \"7x\"\nbar = true\n[publish]\nserver = \"bind\"\n[nonsense]\n",
			`zonebuild.toml:1:1: unknown key foo [config-unknown]
zonebuild.toml:3:12: validity: must be a string with units, such as "14d" or "1h30m" [config-value]
zonebuild.toml:4:11: refresh: "7x" is no duration such as "14d" or "1h30m" [config-value]
zonebuild.toml:5:1: unknown key bar in [policy] [config-unknown]
zonebuild.toml:7:10: server: must be one of "none", "nsd", "command" [config-value]
zonebuild.toml:8:2: unknown table nonsense [config-unknown]
`},
		{"syntax", "a = \n", "zonebuild.toml:1:5: unexpected character U+000A at start of value [config-syntax]\n"},
		{"relations", "[policy]\nvalidity = \"7d\"\nrefresh = \"7d\"\nspread = \"1d\"\nmax-ttl = \"8d\"\ndnskey-ttl = \"7d\"\n",
			`zonebuild.toml:3:1: refresh (7d) must be below validity (7d) [config-value]
zonebuild.toml:5:1: max-ttl (8d) must be below refresh (7d) [config-value]
`},
		{"spread", "[policy]\nvalidity = \"10d\"\nrefresh = \"8d\"\nspread = \"3d\"\n[policy.x]\nrefresh = \"229h\"\nspread = \"0s\"\n",
			`zonebuild.toml:4:1: spread (3d) must be at most validity (10d) minus refresh (8d) [config-value]
zonebuild.toml:6:1: refresh (9d13h) must be at most 90 % of validity (10d) [config-value]
`},
		{"one fault, one message", "[policy]\nvalidity = 14\nrefresh = \"20d\"\n", "zonebuild.toml:2:12: validity: must be a string with units, such as \"14d\" or \"1h30m\" [config-value]\n"},
		{"meant", "[publish]\nadress = []\n", "zonebuild.toml:2:1: unknown key adress in [publish] (is address meant?) [config-unknown]\n"},
		{"ds", "[[zone]]\nnames = [\"a.example\"]\nds = [\"1 13 2 abcd\", \"x\"]\n", `zonebuild.toml:3:7: ds: a digest of type 2 has 32 octets, not 2 [config-value]
zonebuild.toml:3:22: ds: "x" is not TAG ALGORITHM DIGEST-TYPE DIGEST [config-value]
`},
		{"paths", "[paths]\nkeys = \"soa\"\nsigned = \"../x\"\n", `zonebuild.toml:2:8: soa and keys are the same directory [config-value]
zonebuild.toml:3:10: signed: "../x" leads out of the tree: write the whole path [config-value]
`},
		{"external", "[publish]\nserver = \"nsd\"\n[[zone]]\nnames = [\"a.example\"]\nsign = \"external\"\n", "zonebuild.toml:4:10: zone a.example.: sign = \"external\" needs publish.server = \"command\", which tells the signer, or \"none\" [config-value]\n"},
		{"zones", "[[zone]]\nnames = [\"a.example\", \"A.example.\"]\n[[zone]]\npolicy = \"no\"\nsoa = 1\n",
			`zonebuild.toml:2:23: a.example.: the zone stands twice [config-zone-twice] (the first at zonebuild.toml:2:10)
zonebuild.toml:3:3: [[zone]] needs names or names-from [config-value]
zonebuild.toml:4:10: policy: there is no [policy.no] [config-value]
zonebuild.toml:5:7: soa: must be a string [config-value]
`},
		{"names-from", "[[zone]]\nnames-from = \"list\"\n[[zone]]\nnames-from = \"nosuch\"\n",
			"list:3:1: zone \"b..example\": empty label [config-value]\nzonebuild.toml:4:14: names-from: read nosuch: no such file or directory [config-value]\n"},
		{"keep", "[policy]\nserial = \"keep\"\n", "zonebuild.toml:2:1: serial = \"keep\" stops a signed zone from being signed anew: set sign = false, or accept it with serial-keep-signed = true [config-value]\n"},
		{"update", "[source.primary]\nupdate = \"git pull\"\n[source.soa]\ninterval = \"5m\"\n",
			"zonebuild.toml:2:10: update: must be a list: [\"program\", \"argument\", ...] [config-value]\nzonebuild.toml:4:1: interval has no meaning without update [config-value]\n"},
		{"server keys", "[publish]\ncontrol = \"/x\"\nconfirm = [\"192.0.2.1@53\", \"x\"]\n",
			"zonebuild.toml:2:1: control has no meaning with server = \"none\" [config-value]\nzonebuild.toml:3:28: confirm: \"x\" is no address such as 192.0.2.1, 192.0.2.1@5353 or [2001:db8::1]:53 [config-value]\n"},
		{"mode", "output-mode = \"0666\"\noutput-group = \"no such group\"\nalarm-command = \"mail\"\n",
			`zonebuild.toml:1:15: output-mode: must be an octal mode such as "0644", writable by the owner alone [config-value]
zonebuild.toml:2:16: output-group: there is no group "no such group" [config-value]
zonebuild.toml:3:17: alarm-command: must be a list: ["program", "argument", ...] [config-value]
`},
		{"drop boxes", "[[drop-box]]\nnames = [\"a..b\"]\n[[drop-box]]\npath = \"a\"\nmax-values = 0\nmarker = \"/x\"\nowner = \"no such user\"\n[[drop-box]]\npath = \"a\"\n", `zonebuild.toml:1:3: [[drop-box]] needs a path [config-value]
zonebuild.toml:2:10: names: "a..b": empty label [config-value]
zonebuild.toml:5:14: max-values: must be a whole number from 1 to 4096 [config-value]
zonebuild.toml:6:10: marker: must be the name of a file in that directory [config-value]
zonebuild.toml:7:9: owner: there is no user "no such user" [config-value]
zonebuild.toml:8:3: two drop boxes have the path DIR/a [config-value]
`},
		{"twice", "[policy]\ncds = false\ncds = false\n", "zonebuild.toml:3:1: key cds is already defined [config-syntax]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, got := load(t, map[string]string{File: tt.src, "list": "# parked\na.example # one\nb..example\n"})
			if got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	c, faults := load(t, map[string]string{
		"list": "b.example\nc.example\n",
		File: `output-mode = "0640"
publish.server = "nsd"
[policy]
validity = "28d"
[policy.quick]
refresh = "14d"
[[zone]]
names = ["0/25.2.0.192.in-addr.arpa"]
shrink-limit = 0
[[zone]]
names-from = "list"
policy = "quick"
soa = "soa/shared"
primary = ["primary/shared"]
`})
	if faults != "" {
		t.Fatal(faults)
	}
	if len(c.Zones) != 3 || c.Publish.Address[0].String() != "127.0.0.1:53" || c.OutputMode != 0o640 {
		t.Fatalf("%+v", c)
	}
	rev, b := c.Zones[0], c.Zones[1]
	if rev.SOA != "soa/0%2f25.2.0.192.in-addr.arpa" || rev.Policy.ShrinkLimit != 0 || rev.Policy.Spread != 18*24*time.Hour {
		t.Errorf("%+v", rev)
	}
	if b.SOA != "soa/shared" || b.Policy.Validity != 28*day || b.Policy.Refresh != 14*day || b.Policy.Spread != 12*day {
		t.Errorf("%+v", b)
	}
}

func TestWithoutFile(t *testing.T) {
	c, faults := load(t, map[string]string{"soa/example.org": "", "soa/.example.org.swp": "", "soa/example.org~": "", "soa/Upper": "", "soa/x y": ""})
	if want := "soa/Upper: warning: the file is left out: \"Upper\": the file of this zone is named \"upper\" [no-zone-name]\nsoa/x y: warning: the file is left out: \"x y\": byte that needs an escape (write a non-ASCII name as A-labels) [no-zone-name]\n"; faults != want {
		t.Error(faults)
	}
	if len(c.Zones) != 1 || c.Zones[0].Name.String() != "example.org." || c.Zones[0].Policy.Spread != 6*day {
		t.Errorf("%+v", c.Zones)
	}
}

// FuzzLoad: what is accepted keeps all bounds.
func FuzzLoad(f *testing.F) {
	f.Add("[policy]\nvalidity = \"14d\"\n[[zone]]\nnames = [\"example.org\"]\n")
	f.Add("publish.server = \"nsd\"\n[policy.a.b]\n[source.soa]\nmarker = \"x\"\n")
	f.Add("[[zone]]\n[zone.x]\ny = {a = 1}\n")
	f.Fuzz(func(t *testing.T, src string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, File), []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
		c, faults := Load(dir)
		if faults.HasErrors() {
			return
		}
		for _, z := range c.Zones {
			if p := z.Policy; p.Refresh >= p.Validity || p.MaxTTL >= p.Refresh || p.Spread > p.Validity-p.Refresh || p.Validity > 366*day {
				t.Errorf("accepted %+v", p)
			}
		}
	})
}
