package starttls

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Names of RFC 6120 §4.8.1 and §5.4.
const (
	nsStreams = "http://etherx.jabber.org/streams"
	nsTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	maxDepth  = 16 // of elements in a stream before TLS
)

func startXMPPClient(t *talk) error { return t.xmpp("jabber:client") }

func startXMPPServer(t *talk) error { return t.xmpp("jabber:server") }

// xmpp is RFC 6120 §5.4.
func (t *talk) xmpp(content string) error {
	to := "" // RFC 6120 §4.7.2
	if t.domain != "" {
		to = " to='" + t.domain + "'" // plainName leaves nothing to escape
	}
	x := &stream{in: xml.NewDecoder(t.in)} // it reads octet by octet, and none too many
	open := "<?xml version='1.0'?><stream:stream xmlns='" + content + "' xmlns:stream='" + nsStreams + "'" + to + " version='1.0'>"
	offered := false
	err := t.ask(open, func() error {
		root, err := x.start()
		if err != nil {
			return err
		}
		if root.Name != (xml.Name{Space: nsStreams, Local: "stream"}) {
			return fmt.Errorf("%w: the server opens no stream but <%s>", ErrProtocol, cut(root.Name.Local))
		}
		offered, err = x.features()
		return err
	})
	if err != nil {
		return err
	}
	if !offered {
		return fmt.Errorf("%w: it is not among the server's stream features", ErrNoStartTLS)
	}
	return t.ask("<starttls xmlns='"+nsTLS+"'/>", x.proceed)
}

// stream reads the server's stream.
type stream struct {
	in    *xml.Decoder
	depth int
}

// token reads the next start or end of an element; other things that RFC 6120
// §11.1 allows are passed over.
func (x *stream) token() (xml.Token, error) {
	for {
		tok, err := x.in.Token()
		var bad *xml.SyntaxError
		switch {
		case errors.As(err, &bad) && bad.Msg == "unexpected EOF":
			return nil, io.ErrUnexpectedEOF
		case bad != nil:
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		case err != nil:
			return nil, err
		}
		switch v := tok.(type) {
		case xml.StartElement:
			if x.depth++; x.depth > maxDepth {
				return nil, fmt.Errorf("%w: more than %d elements in each other", ErrProtocol, maxDepth)
			}
			return v, nil
		case xml.EndElement:
			x.depth--
			return v, nil
		case xml.Directive, xml.Comment:
			return nil, fmt.Errorf("%w: a comment or a declaration in a stream (RFC 6120 §11.1)", ErrProtocol)
		}
	}
}

// start reads the next element's start.
func (x *stream) start() (xml.StartElement, error) {
	tok, err := x.token()
	if err != nil {
		return xml.StartElement{}, err
	}
	e, ok := tok.(xml.StartElement)
	if !ok {
		return e, fmt.Errorf("%w: the server closes the stream", ErrUnavailable)
	}
	return e, nil
}

// inside reads an element to its end and gives the names of its children.
func (x *stream) inside() ([]xml.Name, error) {
	var names []xml.Name
	for top := x.depth; ; {
		tok, err := x.token()
		if err != nil {
			return nil, err
		}
		if e, ok := tok.(xml.StartElement); ok && x.depth == top+1 {
			names = append(names, e.Name)
		}
		if x.depth < top {
			return names, nil
		}
	}
}

// features reads the stream features and says whether STARTTLS is one.
func (x *stream) features() (bool, error) {
	e, err := x.start()
	if err != nil {
		return false, err
	}
	inside, err := x.inside()
	switch {
	case e.Name.Space == nsStreams && e.Name.Local == "error":
		why := ""
		if len(inside) > 0 {
			why = inside[0].Local
		}
		return false, says(ErrUnavailable, "stream error "+why)
	case err != nil:
		return false, err
	case e.Name != xml.Name{Space: nsStreams, Local: "features"}:
		return false, fmt.Errorf("%w: the server sends no features but <%s>", ErrProtocol, cut(e.Name.Local))
	}
	for _, n := range inside {
		if n == (xml.Name{Space: nsTLS, Local: "starttls"}) {
			return true, nil
		}
	}
	return false, nil
}

// proceed reads the answer to STARTTLS, up to the last octet of it.
func (x *stream) proceed() error {
	e, err := x.start()
	if err != nil {
		return err
	}
	if _, err := x.inside(); err != nil {
		return err
	}
	switch e.Name {
	case xml.Name{Space: nsTLS, Local: "proceed"}:
		return nil
	case xml.Name{Space: nsTLS, Local: "failure"}:
		return says(ErrNoStartTLS, "failure")
	case xml.Name{Space: nsStreams, Local: "error"}:
		return says(ErrUnavailable, "stream error")
	}
	return fmt.Errorf("%w: the server answers <%s>", ErrProtocol, cut(e.Name.Local))
}

// cut makes a name that a server chose fit for an error.
func cut(s string) string {
	q := quote(s)
	return strings.ReplaceAll(q, `"`, "")
}
