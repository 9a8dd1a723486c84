package starttls

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// TestDialogues: our client with a fake server of each protocol; openssl's
// client with the same fakes is TestFakesSpeak.
func TestDialogues(t *testing.T) {
	cert := selfSigned(t, "host.example")
	for protocol, dialogue := range fakes() {
		t.Run(protocol.String(), func(t *testing.T) {
			sni := ""
			config := &tls.Config{Certificates: []tls.Certificate{cert}, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				sni = h.ServerName
				return nil, nil
			}}
			served := make(chan error, 1)
			addr := listen(t, func(conn net.Conn) { served <- serve(conn, dialogue, config) })
			s, err := Dial(context.Background(), addr, Options{Protocol: protocol, ServerName: "host.example.", Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if err := <-served; err != nil {
				t.Fatalf("the server: %v", err)
			}
			if len(s.Chain) != 1 || !bytes.Equal(s.Chain[0], cert.Certificate[0]) {
				t.Errorf("chain of %d, not the certificate", len(s.Chain))
			}
			if s.Addr != addr || s.Key != "P-256" || s.Version != tls.VersionTLS13 || s.CipherSuite == 0 {
				t.Errorf("served %s %q version %x suite %x", s.Addr, s.Key, s.Version, s.CipherSuite)
			}
			if sni != "host.example" {
				t.Errorf("SNI %q", sni)
			}
		})
	}
}
