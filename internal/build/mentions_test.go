package build

import "testing"

func TestMentionsTLSA(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "T": false, "TLS": false, "tTLSA": true, "_25._tcp.mail TLSA 3 1 1 ab": true, "x tlsa": true, "x TlSa 3": true,
		"ttttttls a": false, "tls\nsa": false, "TLTLSA": true, "mail A 192.0.2.1": false,
	} {
		if got := mentions([]byte(text), "TLSA"); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if !mentions([]byte("x type52 \\# 3"), "TYPE52") || !mentions([]byte("x Type52 \\# 3"), "TYPE52") {
		t.Error("TYPE52")
	}
}
