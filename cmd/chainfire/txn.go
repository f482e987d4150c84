package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxTxnText bounds the text of a transaction, far above what a member takes.
const maxTxnText = 64 << 20

func newTxn(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "txn",
		Short: "Compare, then write or read, all at once",
		Long: `Read a transaction from standard input, and perform it: when every comparison
holds the requests of success, else those of failure.

The text has three parts, each ended by an empty line or the end of the input:
comparisons; requests for success; requests for failure.

  value("name") = "old"          comparisons: value, version, create, mod or
  version("other") > "0"         lease, of a key, with =, !=, < or >

  put name new                   requests: get, put and del, with their flags
  get other --prefix

  get name

Words with blanks go in quotes, 'as they are' or "with \n escapes".

With --file the transaction is JSON ('-' is standard input):
  {"compare":[{"target":"value","key":"name","op":"=","value":"old"}],
   "success":[{"put":{"key":"name","value":"new","prev_kv":true}},
              {"get":{"key":"other","prefix":true,"limit":10}}],
   "failure":[{"get":{"key":"name"}},{"del":{"key":"x","range_end":"y"}},{"txn":{}}]}
where key_base64, range_end_base64 and value_base64 take any bytes, and a
comparison may have a range_end or prefix too. The number of a comparison of
version, create, mod or lease is in "number", in decimal; the "lease" of a put is an id as
'chainfire lease' prints it.

With -w json: {"header":{..},"succeeded":true,"responses":[{"put":{..}},..]}, each
response as its command prints it, without a header.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			op, err := a.readTxn(file)
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *clientv3.Client) error {
				r, err := c.Do(ctx, op)
				if err != nil {
					return fmt.Errorf("txn: %w", err)
				}
				return a.printTxn((*etcdserverpb.TxnResponse)(r.Txn()))
			})
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "read the transaction as JSON from this file; - is standard input")
	// Standard input is the default, so the flag of etcdctl says nothing new.
	cmd.Flags().BoolP("interactive", "i", false, "read from standard input, as is done anyway")
	if err := cmd.Flags().MarkHidden("interactive"); err != nil {
		panic(err) // the flag is defined in the line above
	}
	return cmd
}

func (a *app) readTxn(file string) (clientv3.Op, error) {
	switch file {
	case "":
		p := &txnParser{}
		if isTerminal(a.in) {
			p.prompt = func(s string) { a.complain("%s\n", s) }
		}
		return p.parse(a.in)
	case "-":
		return parseTxnJSON(a.in)
	}
	f, err := os.Open(file)
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("open the transaction: %w", err)
	}
	op, err := parseTxnJSON(f)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close the transaction: %w", cerr)
	}
	return op, err
}

// jsonTxn is the answer of txn as -w json prints it.
type jsonTxn struct {
	Header    *jsonHeader    `json:"header,omitempty"`
	Succeeded bool           `json:"succeeded"`
	Responses []jsonResponse `json:"responses"`
}

// jsonResponse has one field set, that of the operation.
type jsonResponse struct {
	Get *jsonGet `json:"get,omitempty"`
	Put *jsonPut `json:"put,omitempty"`
	Del *jsonDel `json:"del,omitempty"`
	Txn *jsonTxn `json:"txn,omitempty"`
}

func newJSONTxn(r *etcdserverpb.TxnResponse) *jsonTxn {
	out := &jsonTxn{Succeeded: r.GetSucceeded(), Responses: []jsonResponse{}}
	for _, op := range r.GetResponses() {
		var j jsonResponse
		switch {
		case op.GetResponseRange() != nil:
			j.Get = newJSONGet(op.GetResponseRange(), false)
		case op.GetResponsePut() != nil:
			j.Put = &jsonPut{PrevKV: newJSONKV(op.GetResponsePut().GetPrevKv(), false)}
		case op.GetResponseDeleteRange() != nil:
			d := op.GetResponseDeleteRange()
			j.Del = &jsonDel{Deleted: d.GetDeleted(), PrevKVs: newJSONKVs(d.GetPrevKvs(), false)}
		case op.GetResponseTxn() != nil:
			j.Txn = newJSONTxn(op.GetResponseTxn())
		}
		out.Responses = append(out.Responses, j)
	}
	return out
}

func (a *app) printTxn(r *etcdserverpb.TxnResponse) error {
	if a.format == formatJSON {
		out := newJSONTxn(r)
		out.Header = newJSONHeader(r.GetHeader())
		return a.printJSON(out)
	}
	branch := "failure"
	if r.GetSucceeded() {
		branch = "success"
	}
	if err := a.printf("%s, revision %d\n", branch, r.GetHeader().GetRevision()); err != nil {
		return err
	}
	return a.printResponses(r, "")
}

func (a *app) printResponses(r *etcdserverpb.TxnResponse, indent string) error {
	for i, op := range r.GetResponses() {
		if err := a.printf("%s%d. ", indent, i+1); err != nil {
			return err
		}
		if err := a.printResponse(op, indent); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printResponse(op *etcdserverpb.ResponseOp, indent string) error {
	switch {
	case op.GetResponseRange() != nil:
		r := op.GetResponseRange()
		return a.printLines(fmt.Sprintf("get: %d found", r.GetCount()), kvRows(r.GetKvs(), false), indent)
	case op.GetResponsePut() != nil:
		if prev := op.GetResponsePut().GetPrevKv(); prev != nil {
			return a.printf("put: ok, before: %s (revision %d)\n", text(prev.GetValue()), prev.GetModRevision())
		}
		return a.printf("put: ok\n")
	case op.GetResponseDeleteRange() != nil:
		r := op.GetResponseDeleteRange()
		return a.printLines(fmt.Sprintf("del: %d deleted", r.GetDeleted()), kvRows(r.GetPrevKvs(), false), indent)
	}
	t := op.GetResponseTxn()
	if err := a.printf("txn: succeeded %v\n", t.GetSucceeded()); err != nil {
		return err
	}
	return a.printResponses(t, indent+"   ")
}

// printLines prints a heading, and rows below it if there are any.
func (a *app) printLines(heading string, rows [][]string, indent string) error {
	if err := a.printf("%s\n", heading); err != nil || len(rows) == 1 {
		return err
	}
	var b strings.Builder
	if err := writeTable(&b, rows); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if err := a.printf("%s   %s", indent, line); err != nil {
			return err
		}
	}
	return nil
}

// readText reads all of a transaction's text.
func readText(in io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxTxnText+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the transaction: %w", err)
	case len(b) > maxTxnText:
		return nil, fmt.Errorf("the transaction has more than %d bytes", maxTxnText)
	}
	return b, nil
}
