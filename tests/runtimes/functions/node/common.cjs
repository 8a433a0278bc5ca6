exports.handle = (event) => event.data;
