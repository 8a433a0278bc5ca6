export const handle = async (event) => event.data;
export default handle;
