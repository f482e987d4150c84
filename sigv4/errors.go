package sigv4

import (
	"fmt"
	"net/http"
)

// Code is the code of an error as AWS has it.
type Code string

// The codes of refusals made here.
const (
	AccessDenied                      Code = "AccessDenied"
	AuthorizationHeaderMalformed      Code = "AuthorizationHeaderMalformed"
	AuthorizationQueryParametersError Code = "AuthorizationQueryParametersError"
	EntityTooLarge                    Code = "EntityTooLarge"
	EntityTooSmall                    Code = "EntityTooSmall"
	ExpiredToken                      Code = "ExpiredToken"
	IncompleteBody                    Code = "IncompleteBody"
	InternalError                     Code = "InternalError"
	InvalidAccessKeyID                Code = "InvalidAccessKeyId"
	InvalidArgument                   Code = "InvalidArgument"
	InvalidChunkSizeError             Code = "InvalidChunkSizeError"
	InvalidPolicyDocument             Code = "InvalidPolicyDocument"
	InvalidRequest                    Code = "InvalidRequest"
	InvalidToken                      Code = "InvalidToken"
	InvalidURI                        Code = "InvalidURI"
	MalformedTrailerError             Code = "MalformedTrailerError"
	MissingContentLength              Code = "MissingContentLength"
	RequestTimeTooSkewed              Code = "RequestTimeTooSkewed"
	SignatureDoesNotMatch             Code = "SignatureDoesNotMatch"
	XAmzContentSHA256Mismatch         Code = "XAmzContentSHA256Mismatch"
)

// statuses are those that are not 400.
var statuses = map[Code]int{
	AccessDenied:          http.StatusForbidden,
	InternalError:         http.StatusInternalServerError,
	InvalidAccessKeyID:    http.StatusForbidden,
	InvalidChunkSizeError: http.StatusForbidden,
	MissingContentLength:  http.StatusLengthRequired,
	RequestTimeTooSkewed:  http.StatusForbidden,
	SignatureDoesNotMatch: http.StatusForbidden,
}

// Error is a refusal. Its Detail, by name, is what AWS puts beside code and message.
type Error struct {
	Code    Code
	Message string
	Detail  []Detail
	cause   error
}

// Detail is one more element of an error as AWS answers it.
type Detail struct{ Name, Value string }

// Error is the code and the message; what was signed is not in it.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap is what went wrong below, as the reading of a body, if anything did.
func (e *Error) Unwrap() error { return e.cause }

// HTTPStatus is the status that belongs to the code.
func (e *Error) HTTPStatus() int {
	if s, ok := statuses[e.Code]; ok {
		return s
	}
	return http.StatusBadRequest
}

// with adds a detail.
func (e *Error) with(name, value string) *Error {
	e.Detail = append(e.Detail, Detail{name, value})
	return e
}

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
