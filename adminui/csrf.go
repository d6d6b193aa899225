package adminui

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
)

// tokenName is the name of the cookie, and of the field of a form.
const tokenName = "redisstream_form"

// issueToken returns what each form has to send back with the cookie. Other sites can't read it,
// and the browser does not send the cookie with their forms.
func issueToken(w http.ResponseWriter, r *http.Request) string {
	if cookie, err := r.Cookie(tokenName); err == nil && len(cookie.Value) == len(rand.Text()) {
		return cookie.Value
	}
	token := rand.Text()
	//nolint:gosec // Secure is set where the handler sees TLS; a proxy in front of it may end TLS
	http.SetCookie(w, &http.Cookie{Name: tokenName, Value: token, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	return token
}

// ownForm tells whether a form comes from a page of this handler: the browser says so
// (Sec-Fetch-Site or Origin), and the form has the token of the cookie.
func (h *Handler) ownForm(r *http.Request) bool {
	if h.origins.Check(r) != nil {
		return false
	}
	cookie, err := r.Cookie(tokenName)
	return err == nil && cookie.Value != "" && subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(r.PostForm.Get(tokenName))) == 1
}
