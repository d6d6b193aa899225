// Package adminui is a web page for topics of redisstream: an http.Handler that shows what package
// admin returns, and repairs topics if Config.Actions is set.
//
// Pages are made on the server, and work without JavaScript. The handler fetches nothing from
// elsewhere and is read-only unless Config.Actions is set. It has no authentication of its own: set
// Config.Authorize, or wrap the handler. docs/web-page.md shows both.
package adminui
