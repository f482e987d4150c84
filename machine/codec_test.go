package machine

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/record"
	"chainfire/object"
)

func drawURLs(t *rapid.T) []string {
	return rapid.SliceOfN(rapid.SampledFrom([]string{"http://a", "http://b:1"}), 0, 3).Draw(t, "urls")
}

func drawAnyCommand(t *rapid.T) Command {
	c := drawCommand(t)
	id := rapid.Uint64().Draw(t, "id")
	switch rapid.IntRange(0, 12).Draw(t, "member command") {
	case 0:
		return Command{ID: c.ID, Reserve: &Reserve{Name: "n", PeerURLs: drawURLs(t), ClientURLs: drawURLs(t), Incarnation: id, Token: id / 2, Replaces: id / 3, ReadReplica: id%2 == 1, SeedIndex: id / 5, SecretHash: rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "hash")}}
	case 1:
		return Command{ID: c.ID, Release: &Release{ID: id}}
	case 2:
		return Command{ID: c.ID, UpdateMember: &UpdateMember{ID: id, Name: "m", PeerURLs: drawURLs(t), ClientURLs: drawURLs(t), Incarnation: id, Settled: id%2 == 1, Version: rapid.SampledFrom([]string{"", "1.2.3"}).Draw(t, "version"), Level: id / 7}}
	case 3:
		hash := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "hash")
		return Command{ID: c.ID, CreateToken: &CreateToken{SecretHash: hash, Expires: int64(id), Uses: id / 3}}
	case 4:
		return Command{ID: c.ID, RevokeToken: &RevokeToken{ID: id}}
	case 6:
		lease := Command{ID: c.ID}
		drawLeaseCommand(t, &lease)
		return lease
	case 7:
		return Command{ID: c.ID, SetAlarm: &SetAlarm{Member: id, Type: chainfire.AlarmType(1 + id%2), Off: id%3 == 1}}
	case 8:
		return Command{ID: c.ID, Caller: auth.Identity{User: "ann", Revision: id}, Auth: &auth.Change{Op: chainfire.AuthOp(1 + id%11), User: "u", Role: "r", Hash: []byte("h"), NoPassword: id%2 == 1, Permission: &chainfire.Permission{Type: chainfire.PermissionType(id % 3), Key: []byte("k"), RangeEnd: []byte{0}}}}
	case 9:
		return Command{ID: c.ID, Authenticate: &Authenticate{User: "u", TokenHash: rapid.SliceOfN(rapid.Byte(), TokenHashLen, TokenHashLen).Draw(t, "hash")}}
	case 10:
		c.Caller = auth.Identity{User: "ann", Revision: id}
	case 11:
		return Command{ID: c.ID, Object: drawObjectChange(t)}
	case 5:
		return Command{ID: c.ID, RaiseLevel: &RaiseLevel{Level: id}}
	}
	return c
}

func TestCommandsSurviveEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawAnyCommand(t)
		prefix := []byte("before")
		b := c.AppendTo(prefix)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatalf("%x", b)
		}
		got, err := DecodeCommand(b[len(prefix):])
		if err != nil {
			t.Fatalf("decode %x: %v", b, err)
		}
		if d := diff(c, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestLargeCommandSurvivesEncoding(t *testing.T) {
	c := Command{Txn: &chainfire.TxnRequest{Success: []chainfire.Op{{Put: &chainfire.PutRequest{
		Key: []byte("k"), Value: bytes.Repeat([]byte("v"), 1<<20),
	}}}}}
	got, err := DecodeCommand(c.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Txn.Success[0].Put.Value, c.Txn.Success[0].Put.Value) {
		t.Fatal("the value is another")
	}
}

func TestRecordsOfANewerVersionAreRefusedNotHalfRead(t *testing.T) {
	put := Command{Put: &chainfire.PutRequest{Key: []byte("k")}}
	for name, b := range map[string][]byte{
		"version":              {commandVersion + 1},
		"field of the command": record.AppendUint(put.AppendTo(nil), 15, 1),
		"field of a put":       record.AppendMessage([]byte{commandVersion}, 3, func(b []byte) []byte { return record.AppendUint(b, 7, 1) }),
		"type of a field":      record.AppendMessage([]byte{commandVersion}, 3, func(b []byte) []byte { return record.AppendUint(b, 1, 1) }),
		"sort order": record.AppendMessage([]byte{commandVersion}, 5, func(b []byte) []byte {
			return record.AppendMessage(b, 2, func(b []byte) []byte {
				return record.AppendMessage(b, 1, func(b []byte) []byte { return record.AppendUint(b, 5, 3) })
			})
		}),
	} {
		if _, err := DecodeCommand(b); !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMalformedCommandsAreRefused(t *testing.T) {
	put := Command{Put: &chainfire.PutRequest{Key: []byte("k")}}
	deep := chainfire.TxnRequest{}
	for range maxDecodeDepth + 1 {
		inner := deep
		deep = chainfire.TxnRequest{Success: []chainfire.Op{{Txn: &inner}}}
	}
	deepCommand := Command{Txn: &deep}
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"no operation":   {commandVersion},
		"two operations": record.AppendMessage(put.AppendTo(nil), 8, func(b []byte) []byte { return b }),
		"field twice":    record.AppendUint(record.AppendUint(put.AppendTo(nil), 1, 1), 1, 1),
		"cut short":      put.AppendTo(nil)[:4],
		"too deep":       deepCommand.AppendTo(nil),
	} {
		if _, err := DecodeCommand(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryValidCommandDecodes(t *testing.T) {
	deep := chainfire.TxnRequest{Success: []chainfire.Op{{Range: &chainfire.RangeRequest{Key: []byte("k")}}}}
	for range chainfire.MaxTxnDepth - 1 {
		inner := deep
		deep = chainfire.TxnRequest{Success: []chainfire.Op{{Txn: &inner}}}
	}
	c := Command{Txn: &deep}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeCommand(c.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range exampleCommands() {
		f.Add(c.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNewer) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		again, err := DecodeCommand(c.AppendTo(nil))
		if err != nil {
			t.Fatalf("decoded once only: %v", err)
		}
		if d := diff(c, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzDecodeMemberContext(f *testing.F) {
	c := MemberContext{ID: RequestID{1, 2}, Member: &MemberRecord{ID: 3, Name: "n", PeerURLs: []string{"u"}, Reserved: true, ReadReplica: true, Version: "1.2.3", Level: 2}}
	f.Add(c.AppendTo(nil))
	f.Add(encodeConf(testInit().Conf))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeMemberContext(b); err == nil {
			again, err := DecodeMemberContext(c.AppendTo(nil))
			if d := diff(c, again); err != nil || d != "" {
				t.Fatalf("%v %s", err, d)
			}
		}
		if s, err := decodeConf(b); err == nil && !bytes.Equal(encodeConf(s), b) {
			if again, err := decodeConf(encodeConf(s)); err != nil || !again.Equal(s) {
				t.Fatalf("%v became %v, %v", s, again, err)
			}
		}
	})
}

// exampleCommands are the examples of docs/format/command.md.
func exampleCommands() []Command {
	id := RequestID{Member: 1, Seq: 7}
	return []Command{
		{ID: id, Put: &chainfire.PutRequest{Key: []byte("foo"), Value: []byte("bar"), PrevKV: true}},
		{ID: id, Txn: &chainfire.TxnRequest{
			Compare: []chainfire.Compare{{Key: []byte("foo"), Target: chainfire.CompareMod, Number: 2}},
			Success: []chainfire.Op{{Delete: &chainfire.DeleteRangeRequest{Key: []byte("foo")}}},
			Failure: []chainfire.Op{{Range: &chainfire.RangeRequest{Key: []byte("foo")}}},
		}},
		{ID: id, Reserve: &Reserve{Name: "two", PeerURLs: []string{"http://two"}, Incarnation: 300}},
		{ID: id, UpdateMember: &UpdateMember{ID: 3, Version: "1.2.0", Level: 2}},
		{ID: id, RaiseLevel: &RaiseLevel{Level: 2}},
		{ID: id, RevokeLease: &RevokeLease{ID: 9, Term: 2}},
		{ID: id, Object: &object.Change{Time: 1000, Delete: &object.Delete{Bucket: "photos", Objects: []object.DeleteObject{{Key: "cat.jpg"}}}}},
	}
}

func TestFormatPageShowsCommandsAsTheyAreEncoded(t *testing.T) {
	page, err := os.ReadFile("../docs/format/command.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := exampleCommands()
	for i := range examples {
		if want := spaced(examples[i].AppendTo(nil)); !strings.Contains(string(page), "\n    "+want+"\n") {
			t.Errorf("command.md lacks example %d:\n    %s", i, want)
		}
	}
	ctx := MemberContext{ID: RequestID{1, 7}, Member: &MemberRecord{ID: 5, PeerURLs: []string{"http://five"}}}
	if want := spaced(ctx.AppendTo(nil)); !strings.Contains(string(page), "\n    "+want+"\n") {
		t.Errorf("command.md lacks the context:\n    %s", want)
	}
}

// spaced is bytes in hex, each apart.
func spaced(b []byte) string {
	var s []string
	for _, x := range b {
		s = append(s, hex.EncodeToString([]byte{x}))
	}
	return strings.Join(s, " ")
}
