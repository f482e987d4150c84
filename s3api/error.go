package s3api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"chainfire"
	"chainfire/object"
	"chainfire/sigv4"
)

// code is an error's code, with the status and the words that AWS has for it.
type code struct {
	name    string
	status  int
	message string
}

// The codes, as the API reference lists them.
var (
	codeACLNotSupported      = code{"AccessControlListNotSupported", 400, "The bucket does not allow ACLs: its owner owns all that is in it. Use grants of access keys, or a bucket policy."}
	codeAccessDenied         = code{"AccessDenied", 403, "Access Denied"}
	codeBadDigest            = code{"BadDigest", 400, "The Content-MD5 or checksum value that you specified did not match what the server received."}
	codeBucketAlreadyExists  = code{"BucketAlreadyExists", 409, "The requested bucket name is not available. Select a different name and try again."}
	codeBucketAlreadyOwned   = code{"BucketAlreadyOwnedByYou", 409, "Your previous request to create the named bucket succeeded and you already own it."}
	codeBucketNotEmpty       = code{"BucketNotEmpty", 409, "The bucket you tried to delete is not empty."}
	codeConditionalConflict  = code{"ConditionalRequestConflict", 409, "The conditional request cannot succeed due to a conflicting operation against this resource."}
	codeEntityTooLarge       = code{"EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed object size."}
	codeEntityTooSmall       = code{"EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed object size. Each part must be at least 5 MB in size, except the last part."}
	codeIncompleteBody       = code{"IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header."}
	codeInternal             = code{"InternalError", 500, "An internal error occurred. Try again."}
	codeInvalidArgument      = code{"InvalidArgument", 400, "Invalid Argument"}
	codeInvalidBucketName    = code{"InvalidBucketName", 400, "The specified bucket is not valid."}
	codeInvalidBucketState   = code{"InvalidBucketState", 409, "The request is not valid for the current state of the bucket."}
	codeInvalidDigest        = code{"InvalidDigest", 400, "The Content-MD5 or checksum value that you specified is not valid."}
	codeInvalidLocation      = code{"InvalidLocationConstraint", 400, "The specified location (Region) constraint is not valid."}
	codeInvalidPart          = code{"InvalidPart", 400, "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag."}
	codeInvalidPartNumber    = code{"InvalidPartNumber", 416, "The requested partnumber is not satisfiable"}
	codeInvalidPartOrder     = code{"InvalidPartOrder", 400, "The list of parts was not in ascending order. The parts list must be specified in order by part number."}
	codeInvalidRange         = code{"InvalidRange", 416, "The requested range is not satisfiable"}
	codeInvalidRequest       = code{"InvalidRequest", 400, "Invalid Request"}
	codeInvalidStorageClass  = code{"InvalidStorageClass", 400, "The storage class that you specified is not valid."}
	codeInvalidTag           = code{"InvalidTag", 400, "The tag provided was not a valid tag."}
	codeInvalidURI           = code{"InvalidURI", 400, "Couldn't parse the specified URI."}
	codeKeyTooLong           = code{"KeyTooLongError", 400, "Your key is too long."}
	codeMalformedXML         = code{"MalformedXML", 400, "The XML that you provided was not well formed or did not validate against our published schema."}
	codeMetadataTooLarge     = code{"MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size."}
	codeMethodNotAllowed     = code{"MethodNotAllowed", 405, "The specified method is not allowed against this resource."}
	codeMissingContentLength = code{"MissingContentLength", 411, "You must provide the Content-Length HTTP header."}
	codeMissingRequestBody   = code{"MissingRequestBodyError", 400, "Request body is empty."}
	codeNoSuchBucket         = code{"NoSuchBucket", 404, "The specified bucket does not exist"}
	codeNoSuchKey            = code{"NoSuchKey", 404, "The specified key does not exist."}
	codeNoSuchUpload         = code{"NoSuchUpload", 404, "The specified upload does not exist. The upload ID might not be valid, or the upload might have been aborted or completed."}
	codeNoSuchVersion        = code{"NoSuchVersion", 404, "The version ID specified in the request does not match an existing version."}
	codeNotModified          = code{"NotModified", 304, "Not Modified"}
	codeNotImplemented       = code{"NotImplemented", 501, "A header or a parameter that you provided implies functionality that is not implemented."}
	codePreconditionFailed   = code{"PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold"}
	codeQuota                = code{"QuotaExceeded", 403, "The bucket's quota is reached: delete something from it or have the quota raised."}
	codeRequestTimeout       = code{"RequestTimeout", 400, "Your socket connection to the server was not read from or written to within the timeout period."}
	codeServiceUnavailable   = code{"ServiceUnavailable", 503, "Service is unable to handle request. Try again."}
	codeSlowDown             = code{"SlowDown", 503, "Please reduce your request rate."}
	codeTooManyBuckets       = code{"TooManyBuckets", 400, "You have attempted to create more buckets than are allowed."}
	codeInsufficientStorage  = code{"InsufficientStorage", 507, "There is no room left for what you sent: delete something, or add storage."}
	codeUnexpectedContent    = code{"UnexpectedContent", 400, "This request does not support content"}
)

// apiError is a refusal as S3 answers it.
type apiError struct {
	code
	// said replaces the words of the code where it is not empty.
	said    string
	detail  []sigv4.Detail
	headers [][2]string
	// slow is why the client is to slow down, where it is.
	slow string
	// cause is for the log, never for the client.
	cause error
}

func refuse(c code) *apiError { return &apiError{code: c} }

func refusef(c code, format string, args ...any) *apiError {
	return &apiError{code: c, said: fmt.Sprintf(format, args...)}
}

// notImplemented refuses something that S3 has and we do not, by its name.
func notImplemented(what string) *apiError {
	return refusef(codeNotImplemented, "%s is not implemented.", what)
}

// invalidArgument refuses the value of a header or parameter.
func invalidArgument(name, value, format string, args ...any) *apiError {
	return refusef(codeInvalidArgument, format, args...).with("ArgumentName", name).with("ArgumentValue", value)
}

// with adds an element to the answer.
func (e *apiError) with(name, value string) *apiError {
	e.detail = append(e.detail, sigv4.Detail{Name: name, Value: value})
	return e
}

// header adds a header to the answer.
func (e *apiError) header(name, value string) *apiError {
	e.headers = append(e.headers, [2]string{name, value})
	return e
}

// because notes the error behind the refusal.
func (e *apiError) because(err error) *apiError {
	e.cause = err
	return e
}

func (e *apiError) text() string {
	if e.said != "" {
		return e.said
	}
	return e.message
}

func (e *apiError) Error() string {
	if e.cause != nil {
		return e.name + ": " + e.text() + ": " + e.cause.Error()
	}
	return e.name + ": " + e.text()
}

func (e *apiError) Unwrap() error { return e.cause }

// mapped are the errors of what is below, with the code that each becomes: of several the first
// counts. It is never written.
var mapped = []struct {
	from error
	to   code
}{
	{object.ErrNoSuchBucket, codeNoSuchBucket},
	{object.ErrBucketExists, codeBucketAlreadyExists},
	{object.ErrBucketNotEmpty, codeBucketNotEmpty},
	{object.ErrTooManyBuckets, codeTooManyBuckets},
	{object.ErrInvalidBucketName, codeInvalidBucketName},
	{object.ErrInvalidBucketState, codeInvalidBucketState},
	{object.ErrNoSuchKey, codeNoSuchKey},
	{object.ErrNoSuchVersion, codeNoSuchVersion},
	{object.ErrMethodNotAllowed, codeMethodNotAllowed},
	{object.ErrPreconditionFailed, codePreconditionFailed},
	{object.ErrSourceChanged, codeConditionalConflict},
	{object.ErrLocked, codeAccessDenied},
	{object.ErrQuota, codeQuota},
	{object.ErrNoSuchUpload, codeNoSuchUpload},
	{object.ErrInvalidPart, codeInvalidPart},
	{object.ErrInvalidPartOrder, codeInvalidPartOrder},
	{object.ErrPartTooSmall, codeEntityTooSmall},
	{object.ErrTooLarge, codeEntityTooLarge},
	{object.ErrBadDigest, codeBadDigest},
	{object.ErrInvalid, codeInvalidArgument},
	// The bytes were a stream, which is over: the client has them, and sends them again.
	{object.ErrLeaseGone, codeServiceUnavailable},
	{object.ErrHolders, codeServiceUnavailable},
	{object.ErrTooManyLeases, codeSlowDown},
	{object.ErrKeyExists, codeInvalidArgument},
	{object.ErrNoSuchAccessKey, codeInvalidArgument},
	{object.ErrTooManyKeys, codeInvalidArgument},
	// Full disks are why a body is not kept: who tries again finds them as full.
	{chainfire.ErrNoSpace, codeInsufficientStorage},
	{chainfire.ErrNoRoom, codeInsufficientStorage},
	{object.ErrExternalStore, codeServiceUnavailable},
	{object.ErrUnavailable, codeServiceUnavailable},

	{chainfire.ErrNoLeader, codeServiceUnavailable},
	{chainfire.ErrNotLeader, codeServiceUnavailable},
	{chainfire.ErrLeaderChanged, codeServiceUnavailable},
	{chainfire.ErrTimeout, codeServiceUnavailable},
	{chainfire.ErrTimeoutLeaderFail, codeServiceUnavailable},
	{chainfire.ErrTimeoutConnLost, codeServiceUnavailable},
	{chainfire.ErrTooManyRequests, codeSlowDown},
	{chainfire.ErrStopped, codeServiceUnavailable},
	{chainfire.ErrLearner, codeServiceUnavailable},
	{chainfire.ErrRequestTooLarge, codeEntityTooLarge},
	{chainfire.ErrFeatureLevel, codeNotImplemented},
	{context.DeadlineExceeded, codeServiceUnavailable},
	{context.Canceled, codeRequestTimeout},
}

// errorOf is an error as S3 answers it. What is not known is an internal error.
func errorOf(err error) *apiError {
	var own *apiError
	if errors.As(err, &own) {
		return own
	}
	var signed *sigv4.Error
	if errors.As(err, &signed) {
		return &apiError{
			code:   code{name: string(signed.Code), status: signed.HTTPStatus()},
			said:   signed.Message,
			detail: signed.Detail,
			cause:  errors.Unwrap(signed),
		}
	}
	if e := refusedDocument(err); e != nil {
		return e
	}
	for _, m := range mapped {
		if !errors.Is(err, m.from) {
			continue
		}
		e := refuse(m.to).because(err)
		switch {
		case errors.Is(err, object.ErrInvalid), errors.Is(err, chainfire.ErrFeatureLevel):
			e.said = err.Error() // it says what is out of bounds
		case errors.Is(err, chainfire.ErrNoSpace): // room alone does not end it
			e.said = "The cluster takes nothing more: a disk is about to be full, or the store has reached its bound, and the alarm NOSPACE stands. There must be room, and then the alarm must be taken back."
		case errors.Is(m.from, chainfire.ErrNoLeader):
			e.said = "The cluster has no leader at the moment: too few of its members can be reached, or they are choosing one. Try again."
		case errors.Is(m.from, object.ErrExternalStore):
			e.said = "The external store that has the bytes of larger objects cannot be used. Try again."
		}
		if m.to.status == http.StatusServiceUnavailable {
			e = e.header("Retry-After", "1")
		}
		return e
	}
	return refuse(codeInternal).because(err)
}
