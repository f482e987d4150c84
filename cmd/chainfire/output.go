package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"chainfire"
)

// printJSON prints one object in one line, as scripts read it.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// printf prints part of an answer.
func (a *app) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(a.out, format, args...); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// printTable prints rows in columns, the first row being their names.
func (a *app) printTable(rows [][]string) error {
	return writeTable(a.out, rows)
}

func writeTable(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		// The last column needs no cell of its own, and so no trailing blanks.
		if _, err := fmt.Fprintln(w, strings.Join(r, "\t")); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// text is bytes for a table: as they are when they can be printed on one line,
// else quoted as in Go.
func text(b []byte) string {
	if !utf8.Valid(b) {
		return strconv.Quote(string(b))
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) {
			return strconv.Quote(string(b))
		}
	}
	return string(b)
}

// orDash is a cell that is not left empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// orEmpty is a list that is [] in JSON when there is nothing in it.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// jsonHeader is a response header as -w json prints it.
type jsonHeader struct {
	ClusterID string `json:"cluster_id"`
	MemberID  string `json:"member_id"`
	Revision  int64  `json:"revision"`
	RaftTerm  uint64 `json:"raft_term"`
}

func newJSONHeader(h *etcdserverpb.ResponseHeader) *jsonHeader {
	return &jsonHeader{
		ClusterID: clusterID(h.GetClusterId()), MemberID: memberID(h.GetMemberId()),
		Revision: h.GetRevision(), RaftTerm: h.GetRaftTerm(),
	}
}

// clusterID and memberID are ids as they are printed everywhere. The ids of
// members are log indexes, and short.
func clusterID(id uint64) string { return strconv.FormatUint(id, 16) }
func memberID(id uint64) string  { return strconv.FormatUint(id, 10) }

// jsonKV is a key as -w json prints it. Of each pair of fields one is set: the
// string when it is valid UTF-8, else the bytes in base64.
type jsonKV struct {
	Key            *string `json:"key,omitempty"`
	KeyBase64      []byte  `json:"key_base64,omitempty"`
	Value          *string `json:"value,omitempty"`
	ValueBase64    []byte  `json:"value_base64,omitempty"`
	CreateRevision int64   `json:"create_revision"`
	ModRevision    int64   `json:"mod_revision"`
	Version        int64   `json:"version"`
	Lease          string  `json:"lease,omitempty"`
}

func newJSONKV(kv *mvccpb.KeyValue, keysOnly bool) *jsonKV {
	if kv == nil {
		return nil
	}
	out := &jsonKV{
		CreateRevision: kv.GetCreateRevision(), ModRevision: kv.GetModRevision(),
		Version: kv.GetVersion(),
	}
	out.Lease = leaseOrNone(kv.GetLease())
	out.Key, out.KeyBase64 = jsonBytes(kv.GetKey())
	if !keysOnly {
		out.Value, out.ValueBase64 = jsonBytes(kv.GetValue())
	}
	return out
}

// leaseOrNone is the id of a key's lease, empty for none.
func leaseOrNone(id int64) string {
	if id == 0 {
		return ""
	}
	return chainfire.LeaseID(id)
}

func jsonBytes(b []byte) (s *string, base64 []byte) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	return nil, b
}

func newJSONKVs(kvs []*mvccpb.KeyValue, keysOnly bool) []*jsonKV {
	out := make([]*jsonKV, 0, len(kvs))
	for _, kv := range kvs {
		out = append(out, newJSONKV(kv, keysOnly))
	}
	return out
}

// kvRows are keys as a table shows them.
func kvRows(kvs []*mvccpb.KeyValue, keysOnly bool) [][]string {
	rows := [][]string{{"KEY", "VALUE", "REVISION", "VERSION"}}
	if keysOnly {
		rows[0] = []string{"KEY", "REVISION", "VERSION"}
	}
	for _, kv := range kvs {
		r := []string{text(kv.GetKey())}
		if !keysOnly {
			r = append(r, text(kv.GetValue()))
		}
		rows = append(rows, append(r, strconv.FormatInt(kv.GetModRevision(), 10), strconv.FormatInt(kv.GetVersion(), 10)))
	}
	return rows
}
