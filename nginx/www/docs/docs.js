/* global SwaggerUIBundle */
// The page reads the document it is about, so the two cannot differ. No validator: it would be asked over the internet.
SwaggerUIBundle({ url: '/openapi.yaml', dom_id: '#document', deepLinking: true, docExpansion: 'list', validatorUrl: null });
