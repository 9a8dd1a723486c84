package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCertificateNames: names that no CA can be asked for are refused here, before a
// key is made for them.
func TestCertificateNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a.example.org": true, "*.a.example.org": true, "xn--bcher-kva.example": true, "1.example": true, "a-b.example": true,
		"192.0.2.1": false, "ex_ample.org": false, "-a.example.org": false, "a-.example.org": false, `a\\.b.example.org`: false, "*.192.0.2.1": false,
	} {
		text := "[line.l]\nnames = [\"" + name + "\"]\n"
		if got := hookFaults(t, text) == ""; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLinePlaces: lines and the account's key stay out of each other's way, and
// programs with a slash are those of the directory.
func TestLinePlaces(t *testing.T) {
	for text, want := range map[string]string{
		"[account]\n[line.\"account.key\"]\nnames = [\"a.example\"]\n":                                                  "is the account's key",
		"[line.a]\nnames = [\"a.example\"]\ndirectory = \"x\"\n[line.b]\nnames = [\"b.example\"]\ndirectory = \"x/\"\n": "is taken by the line a",
		"[line.a]\nnames = [\"a.example\"]\ndirectory = \"lines/b\"\n[line.b]\nnames = [\"b.example\"]\n":               "is taken by the line a",
		"[line.a]\nnames = [\"a.example\"]\nkey-group = \"no such group\"\n":                                            "there is no group",
	} {
		if got := hookFaults(t, text); !strings.Contains(got, want) {
			t.Errorf("%s%s", text, got)
		}
	}
	dir := t.TempDir()
	text := "alarm-command = [\"./page\"]\n[line.a]\nnames = [\"a.example\"]\ndane = false\ndeploy = [[\"./x\", \"./y\"], [\"sh\"]]\n[service.s]\nhost = \"a.example\"\nport = 25\nreload = [\"bin/r\"]\nfiles-from = [\"/l\"]\n"
	if err := os.WriteFile(filepath.Join(dir, HookFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	h, faults := LoadHook(dir)
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	l, s := h.Lines[0], h.Services[0]
	if l.Deploy[0][0] != filepath.Join(dir, "x") || l.Deploy[0][1] != "./y" || l.Deploy[1][0] != "sh" || !l.NoDANE ||
		s.Reload[0] != filepath.Join(dir, "bin/r") || s.Lists[0] != "/l" || h.AlarmCommand[0] != filepath.Join(dir, "page") {
		t.Errorf("%+v %+v %v", l, s, h.AlarmCommand)
	}
}

// hookFaults is what is wrong with an acmehook.toml.
func hookFaults(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, HookFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, faults := LoadHook(dir)
	if !faults.HasErrors() {
		return ""
	}
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(f.Message + "\n")
	}
	return b.String()
}
