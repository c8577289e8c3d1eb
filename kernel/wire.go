package kernel

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// protocolVersion is the version of Jupyter's messaging protocol that is spoken here.
const protocolVersion = "5.5"

// delimiter separates a message's routing frames from the rest.
var delimiter = []byte("<IDS|MSG>")

// header is a message's header.
type header struct {
	ID       string `json:"msg_id"`
	Session  string `json:"session"`
	Username string `json:"username"`
	Date     string `json:"date"` // ISO 8601
	Type     string `json:"msg_type"`
	Version  string `json:"version"`
}

// message is a Jupyter message: routing frames, then delimiter, signature, header, parent
// header, metadata, content, buffers.
type message struct {
	Route    [][]byte
	Header   header
	Parent   header
	Metadata json.RawMessage
	Content  json.RawMessage
	Buffers  [][]byte

	rawHeader json.RawMessage // as received, for use as a parent
}

var (
	errShort     = errors.New("message has too few frames")
	errSignature = errors.New("message has a wrong signature")
	errReplay    = errors.New("message was received before")
)

// session signs and checks messages with the connection's key, and gives outgoing ones
// their identity.
type session struct {
	id  string
	key []byte // empty: messages are not signed

	mu   sync.Mutex
	seen map[[sha256.Size]byte]bool // signatures received, against replays
}

// seenLimit bounds the memory of received signatures; it is emptied when full.
const seenLimit = 1 << 16

func newSession(key string) *session {
	return &session{id: newID(), key: []byte(key), seen: map[[sha256.Size]byte]bool{}}
}

// newID is a random identifier of 32 hexadecimal digits.
func newID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// sign is the HMAC-SHA256 over the four JSON frames, in hexadecimal.
func (s *session) sign(parts [][]byte) []byte {
	if len(s.key) == 0 {
		return nil
	}
	h := hmac.New(sha256.New, s.key)
	for _, p := range parts {
		h.Write(p)
	}
	return hex.AppendEncode(nil, h.Sum(nil))
}

// decode reads and checks a message.
func (s *session) decode(frames [][]byte) (*message, error) {
	i := 0
	for i < len(frames) && !bytes.Equal(frames[i], delimiter) {
		i++
	}
	if len(frames)-i < 6 {
		return nil, errShort
	}
	route, f := frames[:i], frames[i+1:]
	if len(s.key) > 0 {
		if !hmac.Equal(f[0], s.sign(f[1:5])) {
			return nil, errSignature
		}
		if s.replayed(f[0]) {
			return nil, errReplay
		}
	}
	m := &message{Route: route, Metadata: f[3], Content: f[4], Buffers: f[5:], rawHeader: f[1]}
	if err := json.Unmarshal(f[1], &m.Header); err != nil {
		return nil, fmt.Errorf("message header: %w", err)
	}
	if err := json.Unmarshal(f[2], &m.Parent); err != nil {
		return nil, fmt.Errorf("message parent header: %w", err)
	}
	if !json.Valid(m.Content) || !json.Valid(m.Metadata) {
		return nil, errors.New("message content or metadata is not JSON")
	}
	return m, nil
}

// replayed reports whether the signature, a right one, was received before.
func (s *session) replayed(signature []byte) bool {
	var sum [sha256.Size]byte
	hex.Decode(sum[:], signature)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[sum] {
		return true
	}
	if len(s.seen) >= seenLimit {
		clear(s.seen)
	}
	s.seen[sum] = true
	return false
}

// encode makes the frames of a message of that type, in answer to parent (nil: to none).
func (s *session) encode(route [][]byte, typ string, parent *message, content any) ([][]byte, error) {
	h, err := json.Marshal(header{
		ID: newID(), Session: s.id, Username: "kernel",
		Date: time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), Type: typ, Version: protocolVersion,
	})
	if err != nil {
		return nil, err
	}
	c, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", typ, err)
	}
	p := json.RawMessage("{}")
	if parent != nil && parent.rawHeader != nil {
		p = parent.rawHeader
	}
	parts := [][]byte{h, p, []byte("{}"), c}
	frames := make([][]byte, 0, len(route)+6)
	frames = append(frames, route...)
	frames = append(frames, delimiter, s.sign(parts))
	return append(frames, parts...), nil
}
